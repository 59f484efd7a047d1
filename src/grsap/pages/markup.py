"""HTML as a tree of elements. All text is escaped in one place, so that no text can become markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

VOID = frozenset({"br", "hr", "meta", "wbr"})
"""Elements without an end tag."""

INLINE = frozenset({"a", "b", "bdi", "br", "code", "em", "small", "span", "strong", "title", "desc", "text", "tspan"})
"""Elements that are followed by no line break."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_ATTRIBUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9:-]*")
_ID = re.compile(r"[a-zA-Z][\w.-]*")
_FORBIDDEN = frozenset({"script", "style", "iframe", "object", "embed", "base", "form", "link"})
_LINK = re.compile(r"#[\w.-]+|https?://[^\s]+")
_URL_CARRIERS = frozenset({"href", "src", "xlink:href", "action", "formaction", "srcdoc", "poster", "data"})

# Control characters, bidirectional controls, line separators, byte order mark, lone surrogates and noncharacters:
# they are shown as codes, so that readers see them and they have no effect.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Element:
    """An element of a page.

    Attributes:
        tag: name of the element.
        attributes: names and values; with True only the name is written.
        children: elements and texts.
    """

    tag: str
    attributes: tuple[tuple[str, str | bool], ...]
    children: tuple[Element | str, ...]

    def walk(self) -> Iterator[Element]:
        """Yield the element and all elements in it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def get(self, name: str) -> str | bool | None:
        """Return the value of an attribute; None if the element has no such attribute."""
        return dict(self.attributes).get(name)


Content: TypeAlias = "Element | str | int | Iterable[Content] | None"
"""Content of an element. None is skipped; numbers are written unchanged."""


def element(tag: str, *content: Content, attributes: Mapping[str, str | bool | None] | None = None) -> Element:
    """Make an element.

    Args:
        tag: name of the element. Elements that run or load something (`script`, `style`, `iframe`, ...) are rejected.
        content: texts, elements, or lists of these.
        attributes: names and values; None and False omit the attribute. `href` may be a fragment of the page or an
            http address; names that begin with `on` are rejected.

    Raises:
        ValueError: the tag or an attribute is rejected.
    """
    if not _NAME.fullmatch(tag) or tag.lower() in _FORBIDDEN:
        raise ValueError(f"an element {tag!r} is not allowed")
    kept = tuple(
        (name, value) for name, value in (attributes or {}).items() if value is not None and value is not False
    )
    for name, value in kept:
        _check_attribute(name, value)
    return Element(tag, kept, tuple(_flat(content)))


def render(node: Element | str) -> str:
    """Return the HTML of an element or a text."""
    if isinstance(node, str):
        return escape(node)
    attributes = "".join(
        f" {name}" if value is True else f' {name}="{html.escape(visible(str(value)))}"'
        for name, value in node.attributes
    )
    start = f"<{node.tag}{attributes}>"
    if node.tag in VOID:
        return start
    inner = "".join(map(render, node.children))
    return f"{start}{inner}</{node.tag}>" + ("" if node.tag in INLINE else "\n")


def escape(text: str) -> str:
    """Return a text as HTML, with invisible characters as codes, such as `[U+202E]`."""
    return html.escape(visible(text))


def visible(text: str) -> str:
    """Return a text with invisible and bidirectional control characters as codes."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def _check_attribute(name: str, value: str | bool) -> None:
    lowered = name.lower()
    if not _ATTRIBUTE.fullmatch(name) or lowered.startswith("on"):
        raise ValueError(f"an attribute {name!r} is not allowed")
    if lowered in _URL_CARRIERS and not (lowered in ("href", "xlink:href") and _LINK.fullmatch(str(value))):
        raise ValueError(f"{name}={str(value)[:40]!r} is not a place on the page or an http address")
    if lowered == "id" and not _ID.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not an id")
    if lowered == "style" and re.search(r"url\s*\(\s*[\"']?(?!#)|expression|@import|\\", str(value), re.IGNORECASE):
        raise ValueError("a style may not load anything")


def _flat(content: Iterable[Content]) -> Iterator[Element | str]:
    for each in content:
        if isinstance(each, str | Element):
            yield each
        elif isinstance(each, int):
            yield str(each)
        elif each is not None:
            yield from _flat(each)
