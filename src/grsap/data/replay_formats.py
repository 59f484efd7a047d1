"""Rows of other projects' safety files as `SafetyRecord`s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from grsap.data.columns import Place
from grsap.files import hash_json
from grsap.records import Behaviour, Difficulty, Message, SafetyRecord, check_messages

Row = Mapping[str, Any]
Excluded = str
"""Why a row is not replayed, in snake_case."""

NULL_TEXTS = ("", "none", "nan", "null")
TRUTH_VALUES = dict.fromkeys(("true", "1", "1.0", "yes"), True) | dict.fromkeys(("false", "0", "0.0", "no"), False)


def read_row(row: Row, place: Place) -> SafetyRecord | Excluded:
    """Read a row of any known form, which its columns tell.

    Raises:
        DataError: no known form, or something is wrong in the row.
    """
    for key, read in FORMATS.items():
        if key in row:
            found = read(row, place)
            return found if isinstance(found, str) else _exclude(found)
    raise place.error(
        f"columns {', '.join(map(str, row))} are no safety row",
        "Give grsap.safety/1 rows, `messages`, or query, response, domain, difficulty, is_safe: see docs/formats.md",
    )


def _exclude(record: SafetyRecord) -> SafetyRecord | Excluded:
    """Rows that a judge called harmful, or that the length limit cut, are not to be learned."""
    if record.response_harmful:
        return "unsafe"
    if record.finish_reason == "length":
        return "cut_by_length"
    return record


def _safety_record(row: Row, place: Place) -> SafetyRecord:
    """Schema `grsap.safety/1`."""
    record = SafetyRecord.from_dict(row, path=place.path, line=place.line)
    _check_label("behaviour", record.behaviour, get_args(Behaviour), place)
    _check_label("difficulty", record.difficulty, get_args(Difficulty), place)
    return record


def _messages(row: Row, place: Place) -> SafetyRecord:
    """Hugging Face's form: column `messages`; `id`, `domain`, `behaviour` and `difficulty` if they are there."""
    check_messages(row["messages"], path=place.path, line=place.line)
    return make_record(row["messages"], row, place)


def _query_response(row: Row, place: Place) -> SafetyRecord | Excluded:
    """The reference code's CSV: columns query, response, domain, difficulty, is_safe."""
    if "response" not in row or "is_safe" not in row:
        missing = [name for name in ("response", "is_safe") if name not in row]
        raise place.error(f"no column {' and no column '.join(missing)}", "It stands beside `query`: add it")
    texts = [row["query"], row["response"]]
    if any(is_null(text) for text in texts):
        return "empty_text"
    if is_null(row["is_safe"]):
        return "unlabelled"
    is_safe = TRUTH_VALUES.get(str(row["is_safe"]).strip().lower())
    if is_safe is None:
        raise place.error(f"is_safe is {row['is_safe']!r}", "Write true or false")
    if not is_safe:
        return "unsafe"
    if not all(isinstance(text, str) for text in texts):
        raise place.error("query or response is not text", "Write them as strings")
    messages: list[Message] = [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": texts[1]}]
    return make_record(messages, row, place, response_harmful=False)


FORMATS: dict[str, Callable[[Row, Place], SafetyRecord | Excluded]] = {
    "schema": _safety_record,
    "messages": _messages,
    "query": _query_response,
}
"""The column that tells a form, first match wins."""


def make_record(messages: list[Message], row: Row, place: Place, response_harmful: bool | None = None) -> SafetyRecord:
    """A record of turns that were checked, with the row's `id`, `domain`, `behaviour` and `difficulty`, if it has them.

    Raises:
        DataError: a behaviour or difficulty that there is not.
    """
    labels = {name: None if is_null(row.get(name)) else str(row[name]) for name in ("behaviour", "difficulty")}
    difficulty = labels["difficulty"].lower() if labels["difficulty"] else None
    _check_label("behaviour", labels["behaviour"], get_args(Behaviour), place)
    _check_label("difficulty", difficulty, get_args(Difficulty), place)
    row_id = row.get("id")
    return SafetyRecord(
        id=f"{Path(place.path).stem}-{place.line}-{hash_json(messages)[:8]}" if is_null(row_id) else str(row_id),
        messages=messages,
        domain="" if is_null(row.get("domain")) else str(row["domain"]),
        behaviour=labels["behaviour"],  # type: ignore[arg-type]  # checked above
        difficulty=difficulty,  # type: ignore[arg-type]  # checked above
        response_harmful=response_harmful,
    )


def _check_label(name: str, value: str | None, allowed: tuple[str, ...], place: Place) -> None:
    if value is not None and value not in allowed:
        raise place.error(f"{name} is {value!r}", f"Use {', '.join(allowed)}, or leave it out")


def is_null(value: object) -> bool:
    """Whether a cell says nothing: empty, or the word that other programs write for it."""
    return value is None or str(value).strip().lower() in NULL_TEXTS
