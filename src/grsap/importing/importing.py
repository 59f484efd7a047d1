"""Settings of `grsap import`: the source of rows, and how they are read."""

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
    """Columns that are chosen by the value of another one, such as the safer one of two responses.

    Args:
        column: the column with the deciding value.
        cases: value -> new column -> the column to copy. Rows with another value are excluded.
    """

    column: str
    cases: dict[str, dict[str, str]]

    def add(self, row: Mapping[str, Any], place: Place) -> dict[str, Any] | None:
        """Return the row with the new columns; None if `cases` lacks its value."""
        value = value_key(cell(row, self.column, place, "choose.column"))
        chosen = next((columns for case, columns in self.cases.items() if value_key(case) == value), None)
        if chosen is None:
            return None
        return {**row, **{new: cell(row, name, place, "choose.cases") for new, name in chosen.items()}}


@dataclass(frozen=True)
class Import:
    """Make a replay set of a CSV, JSONL or Parquet file, or of a data set on the Hub.

    Args:
        source: source of the rows.
        name: prefix of the rows' ids; by default the last part of the source's path.
        columns: name in grsap -> column of the source: `messages`, or `prompt` and `response` (and `system`);
            optionally `id`, `domain`, `behaviour`, `difficulty`.
        prompt_template: text of the user's turn with columns in braces, instead of a column.
        response_template: text of the assistant's turn with columns in braces, instead of a column.
        ignore_columns: columns with parts of a conversation that are not read, such as `tools`.
        choose: columns that are chosen by the value of another one, such as the safer one of two responses.
        where: column -> values; rows with other values are excluded.
        without: column -> values; rows with one of these are excluded.
        prompt_harmful: true or false for all rows, or a column and its values; unknown by default.
        response_harmful: a column and its values: rows that it labels harmful are excluded, and so are unlabelled ones.
        limit: greatest number of rows, drawn by `seed` and the rows' ids; by default all are used.
        seed: seed of the draw.
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
        """Prefix of the ids of rows without an id."""
        stem = Path(self.source.path.rpartition(":")[2]).stem
        return self.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "row"

    def text_columns(self) -> ColumnMap:
        """Return the columns with a row's turns.

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
        """Check the settings, the file, or the access to the data set.

        Raises:
            UserError: names the wrong setting, the file, or the page where the licence is accepted.
        """
        self.text_columns()
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}", "Give at least 1, or leave it out")
        self.source.check()
