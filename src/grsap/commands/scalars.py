"""Values that no setting of any verb may have: numbers that are none or too large, and text that no file can hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jsonargparse import Namespace

from grsap.errors import ConfigError

MAX_INT = 2**63 - 1
"""What tensors, seeds and files can count to."""


def check_scalars(settings: Any, place: str = "", skipped: Collection[str] = ()) -> None:
    """Check all values of settings, however nested.

    Args:
        settings: a mapping or namespace of settings.
        place: what precedes the key in the message.
        skipped: keys that follow others.

    Raises:
        ConfigError: a number is infinite, not a number or beyond 64 bits, or a text is no Unicode or holds a NUL.
    """
    for key, value in _leaves(settings, ""):
        if key in skipped:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{place}{key} is {value}", "Give a finite number, or null where a setting can be off")
        if isinstance(value, int) and abs(value) > MAX_INT:
            raise ConfigError(f"{place}{key} is a number of {value.bit_length()} bits", "Give one within 64 bits")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{place}{key} holds a NUL character", "Write it without")
        if isinstance(value, str) and not _is_unicode(value):
            raise ConfigError(f"{place}{key} holds bytes that are no UTF-8 text", "Write it in UTF-8")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Each key and value that is no container; each key of a mapping is a value too."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        for name, child in value.items():
            inner = f"{key}.{name}" if key else str(name)
            yield f"a key of {key or 'the settings'}", name
            yield from _leaves(child, inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, child in enumerate(value):
            yield from _leaves(child, f"{key}[{number}]")
    else:
        yield key, value


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
