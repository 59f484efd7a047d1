"""Grouping rows into micro-batches: pure functions of the lengths, equal on every rank and in every run."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from grsap.errors import ConfigError


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: longest row first, each into the pack that it fills best.

    Uses at most 11/9 of the least number of packs, plus 6/9 (Johnson et al. 1974; the constant: Dosa 2007).

    Args:
        lengths: tokens of each row.
        capacity: most tokens of a pack.

    Returns:
        Packs of row numbers, ascending within a pack. Every row is in exactly one.

    Raises:
        ConfigError: a row is longer than `capacity`.
    """
    _check_capacity(lengths, capacity)
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        place = bisect_left(room, (lengths[row], -1))
        if place == len(room):
            free, number = capacity, len(packs)
            packs.append([])
        else:
            free, number = room.pop(place)
        packs[number].append(row)
        insort(room, (free - lengths[row], number))
    return [sorted(rows) for rows in packs]


def pad_groups(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Group rows of like length, longest first, so that rows times the longest of a group is at most `capacity`.

    Args:
        lengths: tokens of each row.
        capacity: most tokens of a group, padding counted.

    Returns:
        Groups of row numbers, ascending within a group. Every row is in exactly one.

    Raises:
        ConfigError: a row is longer than `capacity`.
    """
    _check_capacity(lengths, capacity)
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > capacity:
            groups.append([])
        groups[-1].append(row)
    return [sorted(rows) for rows in groups]


def _check_capacity(lengths: Sequence[int], capacity: int) -> None:
    longest = max(lengths, default=0)
    if longest > capacity:
        raise ConfigError(
            f"a row of {longest} tokens does not fit max_tokens_per_micro_batch {capacity}",
            "Raise max_tokens_per_micro_batch or lower max_length",
        )
