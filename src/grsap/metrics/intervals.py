"""Confidence intervals at 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


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


def newcombe_interval(num_both: int, num_rose: int, num_fell: int, num_neither: int) -> tuple[float, float]:
    """Interval of the difference of two shares taken on the same subjects, later minus earlier.

    Method 10 of Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 2635-2650: Wilson intervals of both shares, joined with a
    continuity-corrected estimate of their correlation.

    Args:
        num_both: True before and after.
        num_rose: False before, True after.
        num_fell: True before, False after.
        num_neither: False before and after.

    Returns:
        (low, high) in [-1, 1]; (-1, 1) without a subject.
    """
    num = num_both + num_rose + num_fell + num_neither
    if num == 0:
        return -1.0, 1.0
    after, before = num_both + num_rose, num_both + num_fell
    share_after, share_before = after / num, before / num
    low_after, high_after = wilson_interval(after, num)
    low_before, high_before = wilson_interval(before, num)
    product = after * (num - after) * before * (num - before)
    excess = float(num_both * num_neither - num_rose * num_fell)
    if excess > 0:
        excess = max(excess - num / 2, 0.0)
    phi = excess / sqrt(product) if product else 0.0
    down, up = share_after - low_after, high_after - share_after
    down_before, up_before = share_before - low_before, high_before - share_before
    difference = share_after - share_before
    low = difference - sqrt(max(0.0, down**2 - 2 * phi * down * up_before + up_before**2))
    high = difference + sqrt(max(0.0, up**2 - 2 * phi * up * down_before + down_before**2))
    return max(-1.0, low), min(1.0, high)


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
