"""Histograms of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_BINS = 40


def histogram(name: str, values: Sequence[float], *, log: bool = False, **cuts: float) -> dict[str, Any]:
    """Count values in bins of equal width.

    Args:
        name: name of the score.
        values: finite; with `log`, positive.
        log: whether bins have equal width in the logarithm.
        cuts: thresholds by name, such as `below` and `above`.

    Returns:
        JSON values `{score, log, edges, counts, cuts}`, with one edge more than counts; both are empty without a value.
    """
    numbers = np.asarray(values, np.float64)
    edges: list[float] = []
    counts: list[int] = []
    if len(numbers):
        scaled = np.log(numbers) if log else numbers
        low, high = float(scaled.min()), float(scaled.max())
        found, bounds = np.histogram(scaled, NUM_BINS, (low, high if high > low else low + 1e-6))
        counts = [int(count) for count in found]
        edges = [significant(math.exp(bound) if log else float(bound)) for bound in bounds]
    return {
        "score": name,
        "log": log,
        "edges": edges,
        "counts": counts,
        "cuts": {key: significant(value) for key, value in cuts.items()},
    }


def significant(value: float, digits: int = 6) -> float:
    """Round a number to significant digits, which hides rounding errors of sums."""
    return float(f"{value:.{digits}g}")
