"""Grouping of rows into micro-batches: pure functions of the lengths, with equal results on all ranks."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from grsap.errors import ConfigError


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack rows by best-fit decreasing: longest row first, each into the fullest pack that has room for it.

    Uses at most 11/9 of the minimum number of packs, plus 6/9 (Johnson et al. 1974; the constant: Dosa 2007).

    Args:
        lengths: tokens of each row.
        capacity: upper limit of tokens per pack.

    Returns:
        Packs of row indices, ascending within a pack. Every row is in exactly one.

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
    """Group rows of similar length, longest first, for padding.

    Args:
        lengths: tokens of each row.
        capacity: upper limit of tokens per group, padding included: number of rows times the longest.

    Returns:
        Groups of row indices, ascending within a group. Every row is in exactly one.

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
