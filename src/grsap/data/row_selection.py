"""Selection of rows of a data set, and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grsap.data.columns import Place, cell

Value = str | bool | int
"""A cell's value in a config. Compared as text, ignoring case: `true`, `True` and `"TRUE"` are equal."""

YAML_WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}

Where = Mapping[str, Sequence[Value]]
"""Column -> accepted values. A row is selected if each of these columns has one of its values."""


@dataclass(frozen=True)
class HarmLabel:
    """A column of harm labels; rows with other values are unlabelled.

    Args:
        column: name of the column.
        harmful: values that mean harmful.
        harmless: values that mean harmless.
    """

    column: str
    harmful: list[Value]
    harmless: list[Value]

    def read(self, row: Mapping[str, Any], place: Place, key: str) -> bool | None:
        """Return True for harmful, False for harmless, None for other values; raise DataError without the column."""
        value = cell(row, self.column, place, f"{key}.column")
        if is_one_of(value, self.harmful):
            return True
        return False if is_one_of(value, self.harmless) else None


def is_selected(row: Mapping[str, Any], where: Where, place: Place) -> bool:
    """Return whether a row is selected; raise DataError if a column is missing."""
    return all(is_one_of(cell(row, column, place, "where"), values) for column, values in where.items())


def is_left_out(row: Mapping[str, Any], without: Where, place: Place) -> bool:
    """Return whether any of the columns has one of its values; raise DataError if a column is missing."""
    return any(is_selected(row, {column: values}, place) for column, values in without.items())


def is_one_of(value: object, wanted: Sequence[Value]) -> bool:
    """Return whether a cell has one of the values. YAML parses `yes` and `off` as booleans, so these match both."""
    key = value_key(value)
    return any(key in YAML_WORDS[each] if isinstance(each, bool) else key == value_key(each) for each in wanted)


def value_key(value: object) -> str:
    """Return a cell's value for comparisons: text in lower case, without outer white space."""
    return "" if value is None else str(value).strip().lower()
