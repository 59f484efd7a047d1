"""matplotlib drawings as elements of a page. Colours adapt to light and dark screens and paper; text stays text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from grsap.errors import MissingPackageError
from grsap.pages.markup import Element, element, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours of the stylesheet: matplotlib draws with placeholders, which are replaced by `var(--NAME)`.
_VARIABLES = {
    "#000001": "ink",
    "#000002": "muted",
    "#000003": "rule",
    "#000004": "surface",
    "#000005": "bad",
    **{f"#0000{16 + number}": f"series-{number + 1}" for number in range(6)},
}
INK, MUTED, RULE, SURFACE, BAD = tuple(_VARIABLES)[:5]
SERIES_COLORS = tuple(_VARIABLES)[5:]
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (3, 1, 1, 1)))
"""Runs differ by colour, marker and dashes, to be distinct in greyscale and for colour-blind readers."""

FONT_SIZE = 12
MAX_LABEL = 44

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([\w.-]+)\)")
_FONT_FAMILY = re.compile(r"font-family:[^;]*;?\s*")


def color_of(style: int) -> str:
    """Return the colour of the n-th series, from 0; colours repeat after six."""
    return SERIES_COLORS[style % len(SERIES_COLORS)]


def label(text: str, max_characters: int = MAX_LABEL) -> str:
    """Return a text in one line, with invisible characters escaped, shortened in the middle to `max_characters`."""
    line = " ".join(visible(text).split())
    if len(line) <= max_characters:
        return line
    half = (max_characters - 1) // 2
    return f"{line[: max_characters - 1 - half]}…{line[-half:]}"


def drawing(name: str, title: str, description: str, size: tuple[int, int], paint: Callable[[Axes], None]) -> Element:
    """Return a drawing as an SVG element.

    Args:
        name: name that is unique on the page; part of the ids.
        title: title for screen readers.
        description: content of the drawing in words and numbers, for screen readers.
        size: width and height in CSS pixels; on a narrower screen the drawing shrinks.
        paint: draws into axes that fill the picture, and sets their margins.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    root = ElementTree.fromstring(_svg(size, paint))
    known = {each.get("id"): f"{name}-{number}" for number, each in enumerate(root.iter()) if each.get("id")}
    referred = set(_references(root))
    ids = {old: f"{name}-{number}" for number, old in enumerate(key for key in known if key in referred)}
    parts = [each for child in root if child.tag.startswith(_SVG) for each in _converted(child, ids)]
    return element(
        "svg",
        element("title", title, attributes={"id": f"{name}-title"}),
        element("desc", description, attributes={"id": f"{name}-desc"}),
        *parts,
        attributes={
            "viewBox": f"0 0 {size[0]} {size[1]}",
            "class": "chart",
            "style": f"width: {size[0]}px",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
        },
    )


def _svg(size: tuple[int, int], paint: Callable[[Axes], None]) -> bytes:
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError("matplotlib is not installed", "Install grsap with the extra `report`") from error
    settings: Any = {
        "svg.fonttype": "none",  # keep text as text, for search, copying and screen readers
        "svg.hashsalt": "grsap",
        "text.parse_math": False,  # do not interpret dollar signs in labels
        "font.size": FONT_SIZE,
        "axes.linewidth": 1,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "grid.color": RULE,
        "grid.linewidth": 1,
        "lines.linewidth": 2,
        "hatch.color": SURFACE,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)  # one point is one CSS pixel
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        paint(axes)
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def margins(axes: Axes, size: tuple[int, int], *, left: int, right: int, top: int, bottom: int) -> None:
    """Set the margins of the axes, in CSS pixels."""
    width, height = size
    axes.set_position((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))


def _references(root: ElementTree.Element) -> Iterator[str]:
    for each in root.iter():
        for key, value in each.attrib.items():
            if key == _XLINK_HREF:
                yield value.removeprefix("#")
            yield from _REFERENCE.findall(value)


def _converted(node: ElementTree.Element, ids: dict[str, str]) -> list[Element]:
    tag = node.tag.removeprefix(_SVG)
    if tag in ("style", "metadata") or not node.tag.startswith(_SVG):
        return []
    children = [each for child in node for each in _converted(child, ids)]
    if tag in ("g", "defs") and not children:
        return []
    attributes: dict[str, str] = {}
    for key, value in node.attrib.items():
        if key == "id":
            if value in ids:
                attributes["id"] = ids[value]
        elif key == _XLINK_HREF:
            attributes["href"] = f"#{ids[value.removeprefix('#')]}"
        else:
            attributes[key] = _restyled(" ".join(value.split()), ids)
    return [element(tag, node.text if tag in ("text", "tspan") else None, *children, attributes=attributes)]


def _restyled(value: str, ids: dict[str, str]) -> str:
    value = _REFERENCE.sub(lambda match: f"url(#{ids[match[1]]})", _FONT_FAMILY.sub("", value))
    return re.sub("#0000[0-9a-f]{2}", lambda match: f"var(--{_VARIABLES[match[0]]})", value)
