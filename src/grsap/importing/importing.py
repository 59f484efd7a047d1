"""The settings of `grsap import`: where rows come from, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grsap.data.columns import COLUMN_NAMES, ColumnMap, Place, cell
from grsap.data.row_selection import HarmLabel, Value, value_key
from grsap.data.row_source import RowSource
from grsap.errors import ConfigError

LABEL_NAMES = ("domain", "behaviour", "difficulty")


@dataclass(frozen=True)
class ChosenColumns:
    """Columns that a row's value chooses, such as the safer one of two responses.

    Args:
        column: whose value chooses.
        cases: value -> new column -> the column that it is taken from. Rows with another value are left out.
    """

    column: str
    cases: dict[str, dict[str, str]]

    def add(self, row: Mapping[str, Any], place: Place) -> dict[str, Any] | None:
        """The row with the new columns; None if its value is none of the cases."""
        value = value_key(cell(row, self.column, place, "choose.column"))
        chosen = next((columns for case, columns in self.cases.items() if value_key(case) == value), None)
        if chosen is None:
            return None
        return {**row, **{new: cell(row, name, place, "choose.cases") for new, name in chosen.items()}}


@dataclass(frozen=True)
class Import:
    """Makes a replay set of any CSV, JSONL or Parquet file, or of a data set on the Hub.

    Args:
        source: where the rows are.
        name: begins the rows' ids; by default the last part of the source's path.
        columns: our name to the source's: `messages`, or `prompt` and `response` (with `system`); and `id`, `domain`,
            `behaviour`, `difficulty` where they are wanted.
        prompt_template: the user's turn with columns in braces, instead of a column.
        response_template: the assistant's turn likewise.
        ignore_columns: columns that hold parts of a conversation and are not to be read, such as `tools`.
        choose: columns that a row's value chooses, such as the safer one of two responses.
        where: column to values; rows with other values are left out.
        without: column to values; rows with one of these are left out.
        prompt_harmful: true or false for all rows, or a column and its values; unknown by default.
        response_harmful: a column and its values: rows that it calls harmful are left out, and so are unlabelled ones.
        limit: how many rows to take, drawn by `seed` and the rows' ids; by default all.
        seed: of the draw.
    """

    source: RowSource
    name: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    prompt_template: str | None = None
    response_template: str | None = None
    ignore_columns: list[str] = field(default_factory=list)
    choose: ChosenColumns | None = None
    where: dict[str, list[Value]] = field(default_factory=dict)
    without: dict[str, list[Value]] = field(default_factory=dict)
    prompt_harmful: bool | HarmLabel | None = None
    response_harmful: HarmLabel | None = None
    limit: int | None = None
    seed: int = 0

    @property
    def row_prefix(self) -> str:
        """What ids of rows without one begin with."""
        stem = Path(self.source.path.rpartition(":")[2]).stem
        return self.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "row"

    def text_columns(self) -> ColumnMap:
        """The columns that hold a row's turns.

        Raises:
            ConfigError: `columns` has an unknown key, or the columns do not make a conversation.
        """
        unknown = sorted(set(self.columns) - {*COLUMN_NAMES, *LABEL_NAMES})
        if unknown:
            raise ConfigError(
                f"columns names {', '.join(unknown)}", f"Its keys may be {', '.join((*COLUMN_NAMES, *LABEL_NAMES))}"
            )
        return ColumnMap(
            {name: column for name, column in self.columns.items() if name in COLUMN_NAMES},
            self.prompt_template,
            self.response_template,
            self.ignore_columns,
        )

    def check(self) -> None:
        """Find what is wrong with the settings, the file, or the access to the data set.

        Raises:
            UserError: names the setting, the file, or the page where a licence is accepted.
        """
        self.text_columns()
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}", "Give at least 1, or leave it out")
        self.source.check()
