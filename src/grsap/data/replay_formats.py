"""Conversion of rows of known safety file formats to `SafetyRecord`s."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from grsap.data.columns import ColumnMap, Place
from grsap.files import hash_json
from grsap.labels import check_choice, is_null, read_label
from grsap.records import Behaviour, Difficulty, Message, SafetyRecord, check_text, check_unicode

Row = Mapping[str, Any]
Excluded = str
"""Reason why a row is not replayed, in snake_case."""

_MESSAGES, _QUERY = ColumnMap(), ColumnMap({"prompt": "query"})


def read_row(row: Row, place: Place, ignore_columns: Collection[str] = ()) -> SafetyRecord | Excluded:
    """Read a row in any known format, detected by its columns.

    Args:
        row: column -> value.
        place: place of the row, for messages.
        ignore_columns: columns with parts of a conversation to skip.

    Raises:
        DataError: the format is unknown, or a value is wrong.
    """
    for key, read in FORMATS.items():
        if key in row:
            found = read({name: row[name] for name in row if name not in ignore_columns}, place)
            return found if isinstance(found, str) else _exclude(found)
    raise place.error(
        f"columns {', '.join(map(str, row))} are not those of a safety row",
        "Give grsap.safety/1 rows, `messages`, or query, response, domain, difficulty, is_safe: see docs/formats.md",
    )


def _exclude(record: SafetyRecord) -> SafetyRecord | Excluded:
    """Exclude rows that a judge labelled harmful or that the length limit cut."""
    if record.response_harmful:
        return "unsafe"
    if record.finish_reason == "length":
        return "cut_by_length"
    return record


def _safety_record(row: Row, place: Place) -> SafetyRecord:
    """Read a row of schema `grsap.safety/1`."""
    record = SafetyRecord.from_dict(row, path=place.path, line=place.line)
    check_unicode(record.messages, path=place.path, line=place.line)
    return record


def _messages(row: Row, place: Place) -> SafetyRecord | Excluded:
    """Read a row in Hugging Face's form: column `messages`, optionally with the other columns of `make_record`."""
    label = _response_label(row, place)
    if isinstance(label, str):
        return label
    return make_record(_MESSAGES.messages(row, place), row, place, label)


def _query_response(row: Row, place: Place) -> SafetyRecord | Excluded:
    """Read a row of the reference code's CSV: columns query, response, domain, difficulty, is_safe."""
    if "response" not in row or "is_safe" not in row:
        missing = [name for name in ("response", "is_safe") if name not in row]
        raise place.error(f"no column {' and no column '.join(missing)}", "Add it: rows with `query` need it")
    if any(is_null(row[name]) for name in ("query", "response")):
        return "empty_text"
    label = _response_label(row, place)
    if isinstance(label, str):
        return label
    return make_record(_QUERY.messages(row, place), row, place, label)


def _response_label(row: Row, place: Place) -> bool | Excluded | None:
    """Return `response_harmful` from that column and `is_safe`, or the reason why the row is excluded."""
    is_safe, harmful = (
        read_label(row.get(name), name, path=place.path, line=place.line) for name in ("is_safe", "response_harmful")
    )
    if is_safe is False or harmful:
        return "unsafe"
    if "is_safe" in row and is_safe is None:
        return "unlabelled"
    return False if is_safe else harmful


FORMATS: dict[str, Callable[[Row, Place], SafetyRecord | Excluded]] = {
    "schema": _safety_record,
    "messages": _messages,
    "query": _query_response,
}
"""Column that identifies a format -> its reader; the first match wins."""


def make_record(messages: list[Message], row: Row, place: Place, response_harmful: bool | None = None) -> SafetyRecord:
    """Return a record of checked turns with the labels of its row.

    Optional columns of the row are `id`, `domain`, `behaviour`, `difficulty`, `prompt_harmful`, `response_refusal` and
    `finish_reason`.

    Raises:
        DataError: one of them has an invalid value.
    """
    at: dict[str, Any] = {"path": place.path, "line": place.line}
    words = {
        name: None if is_null(row.get(name)) else str(row[name])
        for name in ("id", "domain", "behaviour", "difficulty", "finish_reason")
    }
    words["difficulty"] = words["difficulty"].lower() if words["difficulty"] else None
    for name, word in words.items():
        check_text(word or "", name, **at)
    check_choice(words["behaviour"], "behaviour", get_args(Behaviour), **at)
    check_choice(words["difficulty"], "difficulty", get_args(Difficulty), **at)
    return SafetyRecord(
        id=words["id"] or f"{Path(place.path).stem}-{place.line}-{hash_json(messages)[:8]}",
        messages=messages,
        domain=words["domain"] or "",
        behaviour=words["behaviour"],  # type: ignore[arg-type]  # checked above
        difficulty=words["difficulty"],  # type: ignore[arg-type]  # checked above
        prompt_harmful=read_label(row.get("prompt_harmful"), "prompt_harmful", **at),
        response_harmful=response_harmful,
        response_refusal=read_label(row.get("response_refusal"), "response_refusal", **at),
        finish_reason=words["finish_reason"] if words["finish_reason"] in ("stop", "length") else None,  # type: ignore[arg-type]
    )
