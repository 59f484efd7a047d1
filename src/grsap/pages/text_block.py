"""Texts that people or models wrote: behind a click, and never more than text."""

from __future__ import annotations

from grsap.pages.markup import Content, Element, element

MAX_CHARACTERS = 4000


def hidden(summary: Content, *content: Content) -> Element:
    """Content behind a click; works without JavaScript. On paper it stays closed."""
    return element("details", element("summary", summary), *content)


def quoted(text: str, max_characters: int = MAX_CHARACTERS) -> Element:
    """A text as it was written, with its line breaks; a longer one is cut, and says so."""
    cut = text[:max_characters]
    left = len(text) - len(cut)
    return element(
        "pre",
        element("bdi", cut),
        element("em", f" … {left} more characters", attributes={"class": "muted"}) if left else None,
        attributes={"class": "text", "dir": "auto"},
    )
