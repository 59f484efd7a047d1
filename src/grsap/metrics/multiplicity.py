"""Corrections for multiple testing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name")


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjust p-values of a family of tests by Holm's step-down method (1979, Scandinavian Journal of Statistics 6).

    Rejecting tests with an adjusted p-value of at most a bounds the family-wise error rate by a under any dependence.

    Args:
        p_values: by name of the test, in [0, 1].

    Returns:
        Adjusted p-values in [0, 1], by name in the order of `p_values`; none is below the original.
    """
    adjusted: dict[Name, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}
