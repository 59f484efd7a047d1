"""Corrections for multiple testing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name")


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p-values of a family of tests, by Holm's step-down method (1979, Scandinavian Journal of Statistics 6).

    Rejecting where the adjusted value is at most a keeps the chance of any false rejection in the family at most a,
    however the tests depend on each other.

    Args:
        p_values: in [0, 1], by the test's name.

    Returns:
        In [0, 1], in the order of `p_values`; at least as large as what was given, and in the same order of size.
    """
    adjusted: dict[Name, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}
