"""HTML as a tree of elements. Text becomes HTML in one place, which escapes it; markup cannot be given as text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

VOID = frozenset({"br", "hr", "meta", "wbr"})
"""Elements that have no end tag."""

INLINE = frozenset({"a", "b", "bdi", "br", "code", "em", "small", "span", "strong", "title", "desc", "text", "tspan"})
"""Elements that stand within a line: no line break comes after them."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_ATTRIBUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9:-]*")
_ID = re.compile(r"[a-zA-Z][\w.-]*")
_FORBIDDEN = frozenset({"script", "style", "iframe", "object", "embed", "base", "form", "link"})
_LINK = re.compile(r"#[\w.-]+|https?://[^\s]+")
_URL_CARRIERS = frozenset({"href", "src", "xlink:href", "action", "formaction", "srcdoc", "poster", "data"})

# Control characters, those that turn the direction of writing, line separators, the byte order mark, lone surrogates
# and non-characters: a reader must see that they are there, and they must not act.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Element:
    """An element of a page.

    Attributes:
        tag: its name.
        attributes: names and values; a value of None leaves the attribute out, True writes the name alone.
        children: elements and texts.
    """

    tag: str
    attributes: tuple[tuple[str, str | bool], ...]
    children: tuple[Element | str, ...]

    def walk(self) -> Iterator[Element]:
        """The element and all elements in it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def get(self, name: str) -> str | bool | None:
        """The value of an attribute; None if it has no such attribute."""
        return dict(self.attributes).get(name)


Content: TypeAlias = "Element | str | int | Iterable[Content] | None"
"""What may stand in an element. None is left out; numbers are written as they are."""


def element(tag: str, *content: Content, attributes: Mapping[str, str | bool | None] | None = None) -> Element:
    """Make an element.

    Args:
        tag: its name. Elements that run or load something are refused: `script`, `style`, `iframe` and their like.
        content: texts, elements, or lists of these.
        attributes: `href` may be a place on the page or an http address; names that begin with `on` are refused.

    Raises:
        ValueError: a tag or an attribute that is refused.
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
    """The HTML of an element or a text."""
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
    """A text as HTML; characters that are not to be seen stand as their code, such as `[U+202E]`."""
    return html.escape(visible(text))


def visible(text: str) -> str:
    """The text with characters that cannot be seen, or that turn the direction of writing, written as their code."""
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
