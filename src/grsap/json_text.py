"""JSON that came from outside, read strictly. Standard library only."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn


def parse_json(text: str) -> Any:
    """Parse one JSON value. Unlike `json.loads` it refuses what JSON does not have or what would lose data.

    Refused are a key that stands twice in an object (Python would keep the last), NaN and infinity, numbers that are
    too large, and nesting that the parser cannot follow. Halves of surrogate pairs are left to whoever uses the text:
    see `grsap.records.check_unicode`.

    Raises:
        ValueError: the text is not JSON; the message says why, in a few words.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        if "int_max_str_digits" not in str(error):
            raise
        raise ValueError("a whole number of more than 4,300 digits") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for key, number in Counter(key for key, _ in pairs).items() if number > 1)
        raise ValueError(f"the key {key!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def repair_surrogates(text: str) -> str:
    """The text with halves of surrogate pairs joined where both are there, and else replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
