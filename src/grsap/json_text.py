"""Read untrusted JSON strictly. Standard library only."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 64 * 2**20
"""Limit for a JSON file, and for a line of a JSONL file."""
MAX_DEPTH = 100
"""Limit for nested objects and lists, so that recursive code does not overflow the stack."""
MAX_DIGITS = 300
"""Limit for an integer, so that it fits a float."""
_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^]["{}]++', re.DOTALL)
"""Strings, and all other text between brackets; possessive quantifiers make matching linear in time."""


def parse_json(text: str, *, constants: bool = False) -> Any:
    """Parse one JSON value. Unlike `json.loads` it rejects input that is not JSON or would lose data.

    Rejected are a key that occurs twice in an object (Python would keep the last), NaN and infinity, numbers that are
    too large, more than `MAX_DEPTH` levels of nesting, and texts of more than `MAX_BYTES` characters. Lone surrogates
    are accepted: see `grsap.turns.check_unicode`.

    Args:
        text: the JSON.
        constants: accept NaN and infinity, which occur in model configs.

    Raises:
        ValueError: the text is not JSON; the message gives the reason in a few words.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 2**20} MiB")
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=float if constants else _no_constant,
            parse_float=_finite,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, column {error.colno}") from error


def read_json(path: Path, *, constants: bool = False) -> Any:
    """Read the value of a JSON file in UTF-8; `constants` as in `parse_json`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8, or `parse_json` rejects it.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES // 2**20} MiB")
    return parse_json(raw.decode("utf-8"), constants=constants)


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; empty if the file is missing, unreadable or contains another value."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of more than {MAX_DIGITS} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for key, number in Counter(key for key, _ in pairs).items() if number > 1)
        raise ValueError(f"the key {key!r} occurs twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def repair_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
