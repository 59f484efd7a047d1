"""One row of another project's data as a safety record, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from grsap.data.columns import COLUMN_NAMES, ColumnMap, Place, cell
from grsap.data.replay_formats import Excluded, make_record
from grsap.data.row_selection import HarmLabel, is_left_out, is_selected, value_key
from grsap.errors import ConfigError, DataError, NotUnicodeError, TurnsError
from grsap.files import hash_json
from grsap.labels import is_null
from grsap.records import SafetyRecord

if TYPE_CHECKING:
    from grsap.importing.importing import Import

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


class RowReader:
    """Reads rows as the settings of an import say.

    Args:
        settings: of the import.
        name: begins the ids of rows that have none.

    Attributes:
        first_wrong: what is wrong with the first row that is no conversation of user and assistant, if one came.

    Raises:
        ConfigError: `columns` names what is not ours.
    """

    def __init__(self, settings: Import, name: str) -> None:
        unknown = sorted(set(settings.columns) - {*COLUMN_NAMES, *LABEL_NAMES})
        if unknown:
            raise ConfigError(
                f"columns names {', '.join(unknown)}", f"Its keys may be {', '.join((*COLUMN_NAMES, *LABEL_NAMES))}"
            )
        self.settings = settings
        self.name = name
        self.first_wrong: DataError | None = None
        self._texts = ColumnMap(
            {name: column for name, column in settings.columns.items() if name in COLUMN_NAMES},
            settings.prompt_template,
            settings.response_template,
            settings.ignore_columns,
        )
        self._texts.begin()
        self._labels = [name for name in ("id", *LABEL_NAMES) if name in settings.columns]

    def end(self) -> None:
        """Raise DataError if no row that was read had a column that `columns` names."""
        self._texts.end(self.settings.source.path)

    def read(self, row: Mapping[str, Any], place: Place) -> SafetyRecord | Excluded:
        """The record of a row, or why it is left out.

        Raises:
            DataError: a column is missing, or holds what it cannot.
        """
        settings = self.settings
        if not is_selected(row, settings.where, place) or is_left_out(row, settings.without, place):
            return "not_selected"
        if settings.choose is not None:
            chosen = settings.choose.add(row, place)
            if chosen is None:
                return "not_selected"
            row = chosen
        if any(is_null(row[name]) for name in self._texts.text_columns if name in row):
            return "empty_text"
        response_harmful = None
        if settings.response_harmful is not None:
            response_harmful = settings.response_harmful.read(row, place, "response_harmful")
            if response_harmful is not False:
                return "unsafe" if response_harmful else "unlabelled"
        try:
            messages = self._texts.messages(row, place)
        except NotUnicodeError:
            return "not_unicode"
        except TurnsError as error:
            self.first_wrong = self.first_wrong or error
            return "wrong_turns"
        labels = {name: cell(row, settings.columns[name], place, f"columns.{name}") for name in self._labels}
        if is_null(labels.get("id")):
            labels["id"] = f"{self.name}-{hash_json(messages)}"
        record = make_record(messages, labels, place, response_harmful)
        label = settings.prompt_harmful
        return replace(
            record,
            prompt_harmful=label.read(row, place, "prompt_harmful") if isinstance(label, HarmLabel) else label,
        )
