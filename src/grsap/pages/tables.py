"""Tables, lists of facts, and numbers with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from grsap.pages.markup import Content, Element, element


def table(
    caption: Content,
    headings: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    text_columns: int = 1,
    groups: Sequence[tuple[str, int]] = (),
) -> Element:
    """Return a table that scrolls horizontally on narrow screens, but not on paper.

    Args:
        caption: content of the table and how to read it.
        headings: one per column.
        rows: cells; the first cell of a row is its name, written once for adjacent rows with the same name.
        text_columns: number of columns of text, from the left; the others are numbers, aligned to the right.
        groups: upper row of headings: (text, number of columns).
    """
    number = {"class": "number"}

    def attributes(column: int) -> dict[str, str] | None:
        return None if column < text_columns else number

    over = [
        element("th", text, attributes={"colspan": str(width), "scope": "colgroup", "class": "group" if text else None})
        for text, width in groups
    ]
    head = [
        element("th", text, attributes={"scope": "col", **(attributes(column) or {})})
        for column, text in enumerate(headings)
    ]
    body = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        for place, row in enumerate(members := list(group)):
            scope = {"scope": "rowgroup", "rowspan": str(len(members))} if len(members) > 1 else {"scope": "row"}
            heading = None if place else element("th", row[0], attributes=scope)
            cells = [element("td", cell, attributes=attributes(column)) for column, cell in enumerate(row[1:], 1)]
            body.append(element("tr", heading, cells, attributes={"class": None if place else "first"}))
    rows_of_head = [element("tr", over) if over else None, element("tr", head)]
    whole = element("table", element("thead", rows_of_head), element("tbody", body))
    # The caption is outside the scrolling element, so that it is never cut off.
    scrolling = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "table"}
    return element("figure", element("div", whole, attributes=scrolling), element("figcaption", caption))


def facts(pairs: Sequence[tuple[Content, Content]]) -> Element:
    """Return a list of names and values."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in pairs])


def with_interval(value: str, interval: str = "", *notes: str) -> list[Content]:
    """Return a number with its interval and notes below it in small print."""
    lines = [line for line in (interval, *notes) if line]
    return [value, [(element("br"), element("small", line)) for line in lines]]


def badge(word: str, kind: str) -> Element:
    """Return a coloured word; `kind` is `good`, `bad` or `open`."""
    return element("span", word, attributes={"class": f"badge {kind}"})
