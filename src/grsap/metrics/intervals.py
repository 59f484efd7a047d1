"""Confidence intervals at 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import copysign, inf, sqrt

import numpy as np

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

Z_TANGO = 2.1
"""Quantile for Tango's test. With 1.96 its error at 20 to 100 pairs reaches .040 on one side, and its coverage falls to
.92; with 2.1 they are at most .03 and at least .94 from 20 pairs on, whatever the shares. `docs/statistics.md` has the
figures."""


def wilson_interval(num_true: float, num: float) -> tuple[float, float]:
    """Wilson's score interval of a share, without continuity correction (Wilson 1927).

    Args:
        num_true: successes, in [0, num].
        num: trials; fractions are effective numbers of trials that depend on each other.

    Returns:
        (low, high) in [0, 1]; (0, 1) without a trial.

    Raises:
        ValueError: `num_true` is outside [0, num].
    """
    if not 0 <= num_true <= num:
        raise ValueError(f"num_true is {num_true}, not in [0, {num}]")
    if num == 0:
        return 0.0, 1.0
    share = num_true / num
    scale = 1 + Z95**2 / num
    centre = (share + Z95**2 / (2 * num)) / scale
    half = Z95 / scale * sqrt(share * (1 - share) / num + Z95**2 / (4 * num**2))
    low = 0.0 if num_true == 0 else max(0.0, centre - half)
    high = 1.0 if num_true == num else min(1.0, centre + half)
    return low, high


@lru_cache(maxsize=4096)
def tango_interval(num_rose: int, num_fell: int, num: int, quantile: float = Z_TANGO) -> tuple[float, float]:
    """Interval of the difference of two shares of the same subjects, later minus earlier, by Tango's score test.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17, 891-908.

    Args:
        num_rose: False before, True after.
        num_fell: True before, False after.
        num: all subjects.
        quantile: of the normal distribution.

    Returns:
        (low, high) in [-1, 1]; (-1, 1) without a subject.
    """
    if num == 0:
        return -1.0, 1.0
    ends = []
    for rose, fell in ((num_fell, num_rose), (num_rose, num_fell)):
        near, far = (rose - fell) / num, 1.0
        for _ in range(50):
            middle = (near + far) / 2
            near, far = (middle, far) if _tango_score(middle, rose, fell, num) >= -quantile else (near, middle)
        ends.append(far)
    return -ends[0], ends[1]


def _tango_score(difference: float, num_rose: int, num_fell: int, num: int) -> float:
    """Standard normal for many subjects if `difference` is the true one; negative if it is above the observed one."""
    # The share that fell, by maximum likelihood among all shares with this difference: the root of a square equation.
    linear = (2 * num - num_rose + num_fell) * difference - num_rose - num_fell
    constant = -num_fell * difference * (1 - difference)
    fell = (sqrt(max(0.0, linear**2 - 8 * num * constant)) - linear) / (4 * num)
    variance = num * (2 * fell + difference * (1 - difference))
    excess = num_rose - num_fell - num * difference
    return excess / sqrt(variance) if variance > 0 else copysign(inf, excess) if excess else 0.0


def bootstrap_interval(values: Sequence[float], *, num_resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979), seeded.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("no value to take the mean of")
    sample = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(sample), size=(num_resamples, len(sample)))
    low, high = np.quantile(sample[chosen].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def independent_mean_interval(parts: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Mean of numbers whose errors are independent, from each one's own interval.

    The method of variance estimates recovery (MOVER; Zou and Donner 2008, "Construction of confidence intervals about
    effect measures", Statistics in Medicine 27, 1693-1702): distances to the ends are added as squares.

    Args:
        parts: (value, low, high) of each.

    Returns:
        (value, low, high).

    Raises:
        ValueError: there is no part.
    """
    if not parts:
        raise ValueError("no value to take the mean of")
    num = len(parts)
    value = sum(part[0] for part in parts) / num
    down = sqrt(sum((part[0] - part[1]) ** 2 for part in parts)) / num
    up = sqrt(sum((part[2] - part[0]) ** 2 for part in parts)) / num
    return value, value - down, value + up
