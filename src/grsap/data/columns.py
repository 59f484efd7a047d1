"""Conversations from the columns of a file."""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grsap.errors import ConfigError, DataError
from grsap.labels import is_null
from grsap.records import Message, PlacedRow, check_text, read_messages

COLUMN_NAMES = ("id", "messages", "system", "prompt", "response")

CHAT_COLUMNS = frozenset(
    (
        *("messages", "conversation", "conversations", "history", "instruction", "input", "context", "documents"),
        *("system", "system_message", "system_prompt", "reasoning", "reasoning_content", "thinking"),
        *("tools", "functions", "function_call", "tool_calls", "chat_template_kwargs"),
        *("image", "images", "audio", "audios", "video", "videos"),
    )
)
"""Columns that commonly contain parts of a conversation. Rows would be learned without the values of such a column if
it is not read: this is an error unless `ignore_columns` names it."""

_MAP_IT = "Map it with columns, use it in a template,"
_NO_TOOLS = "Rows with tools are not supported: remove them,"
_REMEDIES = {
    **dict.fromkeys(("tools", "functions", "function_call", "tool_calls"), _NO_TOOLS),
    "chat_template_kwargs": "Set model.base.chat_template_kwargs for the whole run,",
}


@dataclass(frozen=True)
class Place:
    """File and line of a row, for messages."""

    path: str | Path
    line: int

    def error(self, problem: str, remedy: str) -> DataError:
        """Return a DataError that names this place."""
        return DataError(problem, remedy, path=self.path, line=self.line)


class ColumnMap:
    """Read a conversation from the columns of a row: `messages`, or `prompt` and `response`; optionally `system`.

    Args:
        columns: grsap's column name -> the file's, where they differ: `{"prompt": "question", "response": "answer"}`.
        prompt_template: text of the user's turn, with columns in braces, instead of a column: `"{question} Explain."`.
        response_template: text of the assistant's turn, with columns in braces, instead of a column.
        ignore_columns: columns of the file to skip.

    Attributes:
        text_columns: the file's columns that make up the texts if `messages` is not used.

    Raises:
        ConfigError: an unknown name, or two sources of one text.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        prompt_template: str | None = None,
        response_template: str | None = None,
        ignore_columns: Iterable[str] | None = None,
    ) -> None:
        self.columns = dict(columns or {})
        self.templates = {"prompt": prompt_template, "response": response_template}
        self._ignored = frozenset(ignore_columns or ())
        self._explicit_texts = [
            name for name in ("prompt", "response") if name in self.columns or self.templates[name] is not None
        ]
        self._check_settings()
        self.text_columns = frozenset(
            column
            for part, template in self.templates.items()
            for column in ([self.columns.get(part, part)] if template is None else template_columns(template))
        )
        self._missing: dict[str, str] = {}

    def conversations(self, rows: Iterable[tuple[Place, Mapping[str, Any]]]) -> list[PlacedRow]:
        """Return the rows with `messages` added. Other columns are kept for `score`, except those to ignore.

        Raises:
            DataError: a column is missing or contains no text, the turns are wrong, a part of the conversation would be
                lost, or a column of `columns` is in no row.
        """
        self.begin()
        found = [self._conversation(row, place) for place, row in rows]
        if found:
            self.end(found[0].path)
        return found

    def begin(self) -> None:
        """Begin the rows of a file."""
        self._missing = {name: column for name, column in self.columns.items() if name in ("id", "system")}

    def end(self, path: str | Path) -> None:
        """Raise DataError if a column of `columns` was in no row since `begin`."""
        for name, column in self._missing.items():
            raise DataError(f"no row has a column {column!r}", f"Correct columns.{name}, or leave it out", path=path)

    def messages(self, row: Mapping[str, Any], place: Place) -> list[Message]:
        """Return the turns of a row; raise DataError as `conversations` does."""
        for name in [name for name, column in self._missing.items() if column in row]:
            del self._missing[name]
        column = self.columns.get("messages", "messages")
        if not self._explicit_texts and row.get(column) is not None:
            used, messages = {column}, read_messages(row[column], path=place.path, line=place.line)
        elif "messages" in self.columns:
            raise place.error(
                f"no column {column!r}" if column not in row else f"column {column!r} is null",
                f"Its columns are {', '.join(map(str, row))}: set columns.messages",
            )
        else:
            used = {*self.text_columns}
            turns = [
                {"role": "user", "content": self._text(row, "prompt", place)},
                {"role": "assistant", "content": self._text(row, "response", place)},
            ]
            messages = read_messages(turns, path=place.path, line=place.line)
        used |= {self.columns.get(name, name) for name in ("system", "id")}
        self._check_nothing_is_lost(row, used, place)
        return self._with_system(messages, row, place)

    def _conversation(self, row: Mapping[str, Any], place: Place) -> PlacedRow:
        values = {key: value for key, value in row.items() if key not in self._ignored}
        values["messages"] = self.messages(values, place)
        row_id = values.get(self.columns.get("id", "id"))
        if not is_null(row_id):
            values["id"] = str(row_id)
            check_text(values["id"], "id", path=place.path, line=place.line)
        elif "id" in values:
            values["id"] = None
        return PlacedRow(values, place.path, place.line)

    def _with_system(self, messages: list[Message], row: Mapping[str, Any], place: Place) -> list[Message]:
        name = self.columns.get("system", "system")
        text = row.get(name)
        if is_empty(text):
            return messages
        if not isinstance(text, str):
            raise not_text(name, text, place)
        check_text(text, f"column {name!r}", path=place.path, line=place.line)
        if messages[0]["role"] != "system":
            return [{"role": "system", "content": text}, *messages]
        if messages[0]["content"].strip() != text.strip():
            raise place.error(
                f"column {name!r} and the system turn of messages differ",
                f"Keep one of them, or set ignore_columns: [{name}]",
            )
        return messages

    def _text(self, row: Mapping[str, Any], part: str, place: Place) -> str:
        """Return the text of a turn, from its template or its column."""
        template = self.templates[part]
        if template is not None:
            text = fill_template(template, row, place, f"{part}_template")
            if text is None:
                null = next(name for name in template_columns(template) if is_missing(row.get(name)))
                raise place.error(f"column {null!r} is null, and {part}_template needs it", "Fill or remove the row")
            return text
        name = self.columns.get(part, part)
        if name not in row:
            columns = ", ".join(map(str, row))
            raise place.error(
                f"no column {name!r} and none called messages" if name == part else f"no column {name!r}",
                "Separate the cells by commas"
                if len(row) == 1 and any(mark in columns for mark in ";\t|")
                else f"Its columns are {columns}: map yours with columns: {{{part}: name}}, or {{messages: name}}",
            )
        value = row[name]
        if is_missing(value):
            raise place.error(f"column {name!r} is null", "Fill or remove the row")
        if not isinstance(value, str):
            raise not_text(name, value, place)
        return value

    def _check_nothing_is_lost(self, row: Mapping[str, Any], used: set[str], place: Place) -> None:
        for name in row:
            if name in CHAT_COLUMNS and name not in used and name not in self._ignored and not is_empty(row[name]):
                typed = [f"columns.{ours} is {theirs!r}, which is missing" for ours, theirs in self._missing.items()]
                raise place.error(
                    "; ".join([f"column {name!r} is part of a conversation and would not be learned", *typed]),
                    f"{_REMEDIES.get(name, _MAP_IT)} or set ignore_columns: [{name}]",
                )

    def _check_settings(self) -> None:
        unknown = sorted(set(self.columns) - set(COLUMN_NAMES))
        if unknown:
            raise ConfigError(f"columns names {', '.join(unknown)}", f"Its keys may be {', '.join(COLUMN_NAMES)}")
        for name, template in self.templates.items():
            if template is not None and name in self.columns:
                raise ConfigError(f"columns.{name} and {name}_template are both set", "Keep one of them")
        if "messages" in self.columns and self._explicit_texts:
            raise ConfigError(
                f"columns.messages and a column or template for {self._explicit_texts[0]} are both set", "Keep one form"
            )


def is_missing(value: object) -> bool:
    """Return whether a cell is null, or NaN, which numeric tables use for null."""
    return value is None or (isinstance(value, float) and value != value)


def is_empty(value: object) -> bool:
    """Return whether a cell is null or an empty text, list or mapping."""
    return is_missing(value) or (isinstance(value, str | Sequence | Mapping) and not value)


def not_text(name: str, value: object, place: Place) -> DataError:
    """Return the error for a cell that should be text."""
    remedy = "Write it as a string"
    if isinstance(value, datetime.date | datetime.time):
        remedy = "If the file has text there, the package datasets converted it: give the .jsonl or .csv file itself"
    return place.error(f"column {name!r} is of type {type(value).__name__}, not text", remedy)


def cell_text(row: Mapping[str, Any], name: str, place: Place, key: str) -> str:
    """Return a cell that is text or a number as text; empty for null.

    Raises:
        DataError: the cell is a list, a mapping or a date, or the column is missing.
    """
    value = cell(row, name, place, key)
    if not is_missing(value) and not isinstance(value, str | int | float):
        raise not_text(name, value, place)
    text = "" if is_missing(value) else str(value)
    check_text(text, f"column {name!r}", path=place.path, line=place.line)
    return text


def cell(row: Mapping[str, Any], name: str, place: Place, key: str) -> Any:
    """Return the cell of the column that the setting `key` names; raise DataError if it is missing."""
    if name not in row:
        raise place.error(f"no column {name!r}", f"Its columns are {', '.join(map(str, row))}: correct {key}")
    return row[name]


def template_columns(template: str) -> list[str]:
    """Return the columns that a template names in braces; none if its braces are wrong."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    except ValueError:
        return []
    return [name.split(".")[0].split("[")[0] for name in names]


class _Null(Exception):
    """A column of a template is null."""


MAX_WIDTH = 1000
"""Limit of format widths in a template: a larger one could fill the memory."""


class _TextFormatter(string.Formatter):
    """`str.format` for texts and numbers only, never Python's representation of null, lists or dates."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        value, first = super().get_field(field_name, args, kwargs)
        if is_missing(value):
            raise _Null
        if not isinstance(value, str | int | float):
            raise TypeError(f"{field_name} is of type {type(value).__name__}, not text")
        return value, first

    def format_field(self, value: Any, format_spec: str) -> str:
        if any(int(number) > MAX_WIDTH for number in re.findall(r"[0-9]+", format_spec)):
            raise ValueError(f"a width above {MAX_WIDTH}: {format_spec[:40]}")
        return str(super().format_field(value, format_spec))


def fill_template(template: str, row: Mapping[str, Any], place: Place, key: str) -> str | None:
    """Fill in the columns of a text in braces (`{question}`, `{options[A]}`, `{endings[0]}`); None if one is null.

    Args:
        template: the text.
        row: column -> value.
        place: place of the row, for messages.
        key: setting that contains the template, for messages.

    Raises:
        DataError: a column is missing or neither text nor number, or the braces are wrong.
    """
    try:
        return _TextFormatter().vformat(template, (), row)
    except _Null:
        return None
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise place.error(
            f"{key} {template!r} does not fit ({error})", f"Its columns are {', '.join(map(str, row))}"
        ) from error
