"""Tables whose numbers carry their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.pages.markup import Content, Element, element


def table(
    caption: Content,
    headings: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    text_columns: int = 1,
    groups: Sequence[tuple[str, int]] = (),
) -> Element:
    """A table that scrolls sideways where the screen is narrow, and not on paper.

    Args:
        caption: what it shows and how to read it.
        headings: one a column.
        rows: cells; the first cell of a row names it, None where the name above it goes on. Cells of numbers are
            aligned to the right.
        text_columns: how many columns from the left hold words.
        groups: headings over headings: (text, number of columns).
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
    body = [
        element(
            "tr",
            _row_heading(rows, place),
            [element("td", cell, attributes=attributes(column)) for column, cell in enumerate(row[1:], 1)],
            attributes={"class": None if row[0] is None else "first"},
        )
        for place, row in enumerate(rows)
    ]
    rows_of_head = [element("tr", over) if over else None, element("tr", head)]
    whole = element("table", element("thead", rows_of_head), element("tbody", body))
    # The caption stays outside of what scrolls, so that it is never cut off.
    scrolling = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "table"}
    return element("figure", element("div", whole, attributes=scrolling), element("figcaption", caption))


def without_repeats(rows: Sequence[list[Content]]) -> list[list[Content]]:
    """The rows, with None in the place of a name that is the one above."""
    names = [None, *(row[0] for row in rows)]
    return [[None if row[0] == names[place] else row[0], *row[1:]] for place, row in enumerate(rows)]


def facts(pairs: Sequence[tuple[Content, Content]]) -> Element:
    """A list of names and values."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in pairs])


def with_interval(value: str, interval: str = "", *notes: str) -> list[Content]:
    """A number, its interval in small print below it, and notes below that."""
    lines = [line for line in (interval, *notes) if line]
    return [value, [(element("br"), element("small", line)) for line in lines]]


def _row_heading(rows: Sequence[Sequence[Content]], place: int) -> Element | None:
    if rows[place][0] is None:
        return None
    following = (number for number in range(place + 1, len(rows)) if rows[number][0] is not None)
    height = next(following, len(rows)) - place
    attributes = {"scope": "rowgroup", "rowspan": str(height)} if height > 1 else {"scope": "row"}
    return element("th", rows[place][0], attributes=attributes)


def badge(word: str, kind: str) -> Element:
    """A verdict that is told by its word, and by colour besides; `kind` is `good`, `bad` or `open`."""
    return element("span", word, attributes={"class": f"badge {kind}"})
