"""Texts written by people or models: collapsed, and always escaped."""

from __future__ import annotations

from grsap.pages.markup import Content, Element, element

MAX_CHARACTERS = 4000


def hidden(summary: Content, *content: Content) -> Element:
    """Return content that a click expands, without JavaScript. It stays collapsed on paper."""
    return element("details", element("summary", summary), *content)


def quoted(text: str, max_characters: int = MAX_CHARACTERS) -> Element:
    """Return a text with its line breaks; one longer than `max_characters` is cut, with a note."""
    cut = text[:max_characters]
    left = len(text) - len(cut)
    return element(
        "pre",
        element("bdi", cut),
        element("em", f" … {left} more characters", attributes={"class": "muted"}) if left else None,
        attributes={"class": "text", "dir": "auto"},
    )
