"""Reject values that no setting may have: NaN, infinite and too large numbers, and text that is not valid Unicode."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jsonargparse import Namespace

from grsap.errors import ConfigError

MAX_INT = 2**63 - 1
"""Largest integer of tensors, seeds and files."""


def check_scalars(settings: Any, place: str = "", skipped: Collection[str] = ()) -> None:
    """Check all values of settings at any depth.

    Args:
        settings: a mapping or namespace of settings.
        place: text before the key in the message.
        skipped: keys that are not checked.

    Raises:
        ConfigError: a number is infinite, NaN or beyond 64 bits, or a string is not Unicode or contains NUL.
    """
    for key, value in _leaves(settings, ""):
        if key in skipped:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{place}{key} is {value}", "Give a finite number, or null where a setting can be off")
        if isinstance(value, int) and abs(value) > MAX_INT:
            raise ConfigError(f"{place}{key} is a number of {value.bit_length()} bits", "Give at most 64 bits")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{place}{key} contains a NUL character", "Remove it")
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(f"{place}{key} is not valid UTF-8", "Write it in UTF-8")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of all values that are not containers; the keys of mappings are checked as values too."""
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
