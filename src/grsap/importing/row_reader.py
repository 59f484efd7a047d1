"""Reads a row of another project's data as a safety record, or returns why it is excluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from grsap.data.columns import Place, cell
from grsap.data.replay_formats import Excluded, make_record
from grsap.data.row_selection import HarmLabel, is_left_out, is_selected
from grsap.errors import DataError, NotUnicodeError, TurnsError
from grsap.files import hash_json
from grsap.importing.importing import LABEL_NAMES, Import
from grsap.labels import is_null
from grsap.records import SafetyRecord


class RowReader:
    """Reads rows by the settings of an import.

    Args:
        settings: settings of the import.

    Attributes:
        first_wrong: error of the first row that is not a conversation of user and assistant, if any.
    """

    def __init__(self, settings: Import) -> None:
        self.settings = settings
        self.first_wrong: DataError | None = None
        self._texts = settings.text_columns()
        self._texts.begin()
        self._labels = [name for name in ("id", *LABEL_NAMES) if name in settings.columns]

    def end(self) -> None:
        """Raise DataError if a column of `columns` was missing in all rows."""
        self._texts.end(self.settings.source.path)

    def read(self, row: Mapping[str, Any], place: Place) -> SafetyRecord | Excluded:
        """Return the record of a row, or why it is excluded.

        Raises:
            DataError: a column is missing, or has an invalid value.
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
            labels["id"] = f"{settings.row_prefix}-{hash_json(messages)}"
        record = make_record(messages, labels, place, response_harmful)
        label = settings.prompt_harmful
        return replace(
            record,
            prompt_harmful=label.read(row, place, "prompt_harmful") if isinstance(label, HarmLabel) else label,
        )
