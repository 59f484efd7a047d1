"""From the columns of a file to conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grsap.errors import ConfigError, DataError
from grsap.records import Message, check_messages

COLUMN_NAMES = ("id", "messages", "system", "prompt", "response")


@dataclass(frozen=True)
class Place:
    """Where a row stands, for messages."""

    path: str | Path
    line: int

    def error(self, problem: str, remedy: str) -> DataError:
        """A DataError that names this place."""
        return DataError(problem, remedy, path=self.path, line=self.line)


class ColumnMap:
    """Reads a conversation from a row: column `messages`, or `prompt` and `response` (with `system`, if it is there).

    Args:
        columns: our name to the file's name, for names that differ: `{"prompt": "question", "response": "answer"}`.
        prompt_template, response_template: text with columns in braces, instead of a column: `"{question} Explain."`.

    Raises:
        ConfigError: a name that is not one of ours.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        prompt_template: str | None = None,
        response_template: str | None = None,
    ) -> None:
        unknown = sorted(set(columns or {}) - set(COLUMN_NAMES))
        if unknown:
            raise ConfigError(f"columns names {', '.join(unknown)}", f"Its keys may be {', '.join(COLUMN_NAMES)}")
        self.columns = dict(columns or {})
        self.templates = {"prompt": prompt_template, "response": response_template}

    def conversation(self, row: Mapping[str, Any], place: Place) -> dict[str, Any]:
        """The row with `messages` added; its other columns stay, for `score`.

        Raises:
            DataError: a column is missing or holds no text, or the turns are wrong.
        """
        messages = self.messages(row, place)
        check_messages(messages, path=place.path, line=place.line)
        found = {**row, "messages": messages}
        row_id = row.get(self.columns.get("id", "id"))
        if row_id is not None:
            found["id"] = str(row_id)
        return found

    def messages(self, row: Mapping[str, Any], place: Place) -> Any:
        """The turns, not yet checked; raises DataError if a column is missing or holds no text."""
        name = self.columns.get("messages", "messages")
        if name in row and not any(self.templates.values()):
            return row[name]
        if "messages" in self.columns:
            raise place.error(f"no column {name!r}", f"Its columns are {', '.join(row)}: set columns.messages")
        messages: list[Message] = [
            {"role": "user", "content": self._text(row, "prompt", place)},
            {"role": "assistant", "content": self._text(row, "response", place)},
        ]
        if row.get(self.columns.get("system", "system")):
            messages.insert(0, {"role": "system", "content": self._text(row, "system", place)})
        return messages

    def _text(self, row: Mapping[str, Any], part: str, place: Place) -> str:
        """The text of a turn, from its template or its column."""
        template = self.templates.get(part)
        if template is not None:
            return fill_template(template, row, place, f"{part}_template")
        name = self.columns.get(part, part)
        if name not in row:
            raise place.error(
                f"no column {name!r} and none called messages" if name == part else f"no column {name!r}",
                f"Its columns are {', '.join(row)}: map yours with columns: {{{part}: name}}",
            )
        value = row[name]
        if not isinstance(value, str):
            raise place.error(f"column {name!r} is of type {type(value).__name__}, not text", "Write it as a string")
        return value


def cell(row: Mapping[str, Any], name: str, place: Place, key: str) -> Any:
    """The value of a column that the setting `key` names; raises DataError, with the columns there are, without it."""
    if name not in row:
        raise place.error(f"no column {name!r}", f"Its columns are {', '.join(map(str, row))}: correct {key}")
    return row[name]


def is_unicode(messages: Sequence[Message]) -> bool:
    """Whether all texts can be written as UTF-8; half of a surrogate pair, which JSON can spell, cannot."""
    try:
        "".join(message["content"] for message in messages).encode()
    except UnicodeEncodeError:
        return False
    return True


def fill_template(template: str, row: Mapping[str, Any], place: Place, key: str) -> str:
    """A text with columns in braces (`{question}`, `{options[A]}`, `{endings[0]}`) filled in.

    Args:
        template: the text.
        row: column -> value.
        place: of the row.
        key: the setting that the template is.

    Raises:
        DataError: it names a column that is missing, or its braces are wrong.
    """
    try:
        return template.format_map(row)
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise place.error(
            f"{key} {template!r} does not fit ({error})", f"Its columns are {', '.join(map(str, row))}"
        ) from error
