"""Figures: drawings in panels, with a legend and a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grsap.pages.drawing import DASHES, SERIES_COLORS
from grsap.pages.markup import Content, Element, element

_MARKER_PATHS = (
    "M18 4a4 4 0 1 0 .01 0z",
    "M14 4h8v8h-8z",
    "M18 3.5l5 9h-10z",
    "M18 3l5 5-5 5-5-5z",
    "M18 12.5l5-9h-10z",
    "M16.5 3.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
)


def figure(panels: Sequence[tuple[str, Element]], caption: Content, legend: Element | None = None) -> Element:
    """Return drawings side by side, as many as fit on the screen.

    Args:
        panels: (heading or "", drawing).
        caption: content of the drawings, how to read them, and their limits.
        legend: legend of all panels.
    """
    return element(
        "figure",
        legend,
        element(
            "div",
            [
                element(
                    "div",
                    element("p", heading, attributes={"class": "panel-title"}) if heading else None,
                    drawn,
                    attributes={"class": "panel"},
                )
                for heading, drawn in panels
            ],
            attributes={"class": "panels"},
        ),
        element("figcaption", caption),
    )


def run_legend(names: Mapping[int, str], *, hollow: str = "", filled: str = "") -> Element:
    """Return a legend of colour, marker and dashes of each run.

    Args:
        names: style -> name of each run.
        hollow: meaning of hollow markers; empty for none.
        filled: meaning of filled markers; empty for none.
    """
    entries = [_entry(_line_swatch(style), name) for style, name in sorted(names.items())]
    entries += [_entry(_dot_swatch(is_filled), text) for text, is_filled in ((hollow, False), (filled, True)) if text]
    return element("ul", entries, attributes={"class": "legend"})


def part_legend(names: Sequence[str]) -> Element:
    """Return a legend of the colours of a bar's parts."""
    entries = [_entry(_box_swatch(style), name) for style, name in enumerate(names)]
    return element("ul", entries, attributes={"class": "legend"})


def _entry(swatch: Element, text: str) -> Element:
    return element("li", swatch, element("span", text))


def _variable(style: int) -> str:
    return f"var(--series-{style % len(SERIES_COLORS) + 1})"


def _swatch(*shapes: Element, view: str = "0 0 36 16") -> Element:
    width = f"width: {view.split()[2]}px"
    return element(
        "svg", *shapes, attributes={"viewBox": view, "class": "swatch", "style": width, "aria-hidden": "true"}
    )


def _line_swatch(style: int) -> Element:
    dashes = DASHES[style % len(DASHES)]
    pattern = None if dashes == "solid" else " ".join(f"{2 * length:g}" for length in dashes[1])
    line = element(
        "path",
        attributes={
            "d": "M0 8h36",
            "fill": "none",
            "stroke": _variable(style),
            "stroke-width": "2",
            "stroke-dasharray": pattern,
        },
    )
    marker = element("path", attributes={"d": _MARKER_PATHS[style % len(_MARKER_PATHS)], "fill": _variable(style)})
    return _swatch(line, marker)


def _dot_swatch(is_filled: bool) -> Element:
    fill = "var(--muted)" if is_filled else "var(--surface)"
    attributes = {"d": _MARKER_PATHS[0], "fill": fill, "stroke": "var(--muted)", "stroke-width": "1.5"}
    return _swatch(element("path", attributes=attributes), view="10 0 16 16")


def _box_swatch(style: int) -> Element:
    attributes = {"x": "0", "y": "1", "width": "20", "height": "14", "rx": "2", "fill": _variable(style)}
    return _swatch(element("rect", attributes=attributes), view="0 0 20 16")
