"""95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import copysign, hypot, inf, sqrt

import numpy as np
from scipy.special import betaincinv, stdtrit

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

Z_TANGO = 2.1
"""Quantile for Tango's test. With 1.96 its error at 20 to 100 pairs reaches .040 on one side, and its coverage falls to
.92; with 2.1 they are at most .03 and at least .94 from 20 pairs on, whatever the shares. `docs/statistics.md` has the
figures."""

MIN_UNBOUNDED = 100
"""Least number of values for an interval of the mean of an unbounded quantity: with 50 its coverage is down to .92."""

NUM_RESAMPLES = 2000
_BLOCK = 500_000  # weights in memory at once


def share_interval(num_true: int, num: int) -> tuple[float, float]:
    """Compute the exact interval of a share (Clopper and Pearson 1934); its coverage is at least 95 % for every share.

    Args:
        num_true: successes, in [0, num].
        num: trials, independent of each other.

    Returns:
        (low, high) in [0, 1]; (0, 1) without trials.

    Raises:
        ValueError: `num_true` is outside [0, num].
    """
    if not 0 <= num_true <= num:
        raise ValueError(f"num_true is {num_true}, not in [0, {num}]")
    low = 0.0 if num_true == 0 else float(betaincinv(num_true, num - num_true + 1, 0.025))
    high = 1.0 if num_true == num else float(betaincinv(num_true + 1, num - num_true, 0.975))
    return low, high


def mean_interval(
    values: Sequence[float] | np.ndarray, lowest: float = 0.0, highest: float = 1.0
) -> tuple[float, float]:
    """Compute the interval of the mean of a bounded quantity, with no other assumption on its distribution; seeded.

    Each end is a quantile of means under uniform random weights, with an extra value at the bound (Gaffke 2005, "Three
    test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"; Learned-Miller and
    Thomas 2019, "A new confidence interval for the mean of a bounded random variable"). If all values are at the bounds
    it is `share_interval`. Equal values get an interval as wide as their number allows.

    Args:
        values: (n,) independent values in [lowest, highest].
        lowest: the smallest possible value.
        highest: the largest possible value.

    Returns:
        (low, high); (lowest, highest) without values.
    """
    num = len(values)
    sample, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    if np.isin(sample, (lowest, highest)).all():
        low, high = share_interval(int(counts[sample == highest].sum()), num)
        return lowest + (highest - lowest) * low, lowest + (highest - lowest) * high
    generator = np.random.default_rng(0)
    sums = []
    for size in _portions(NUM_RESAMPLES, max(1, _BLOCK // len(sample))):
        weights = generator.standard_gamma(counts, size=(size, len(sample)))  # of equal values together
        extra = generator.standard_exponential(size)
        sums.append(np.stack([weights @ sample, extra, weights.sum(axis=1) + extra]))
    inner, extra, total = np.concatenate(sums, axis=1)
    low = np.quantile((inner + lowest * extra) / total, 0.025)
    high = np.quantile((inner + highest * extra) / total, 0.975)
    return float(low), float(high)


def _portions(num: int, most: int) -> list[int]:
    """Split `num` into parts of at most `most`."""
    return [min(most, num - begin) for begin in range(0, num, most)]


@lru_cache(maxsize=4096)
def tango_interval(num_rose: int, num_fell: int, num: int, quantile: float = Z_TANGO) -> tuple[float, float]:
    """Compute the interval of the difference of paired shares, after minus before, by Tango's score test.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17, 891-908.

    Args:
        num_rose: False before, True after.
        num_fell: True before, False after.
        num: number of pairs.
        quantile: of the normal distribution.

    Returns:
        (low, high) in [-1, 1]; (-1, 1) without pairs.
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
    """Return the score, standard normal for many pairs if `difference` is true; negative above the observed one."""
    # Maximum-likelihood estimate of the share that fell under this difference: the root of a quadratic equation.
    linear = (2 * num - num_rose + num_fell) * difference - num_rose - num_fell
    constant = -num_fell * difference * (1 - difference)
    fell = (sqrt(max(0.0, linear**2 - 8 * num * constant)) - linear) / (4 * num)
    variance = num * (2 * fell + difference * (1 - difference))
    excess = num_rose - num_fell - num * difference
    return excess / sqrt(variance) if variance > 0 else copysign(inf, excess) if excess else 0.0


def unbounded_mean_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float] | None:
    """Compute the interval of the mean of an unbounded quantity by the bootstrap-t (Efron 1979); seeded.

    Its coverage is about 95 % from `MIN_UNBOUNDED` values on, and lower for fewer values of skewed quantities; see
    `docs/statistics.md`.

    Args:
        values: (n,) independent values.
        seed: of the resamples.

    Returns:
        (low, high); None for fewer than `MIN_UNBOUNDED` values, and for equal values, which say nothing about how large
        others may be.
    """
    num, sample = len(values), np.asarray(values, dtype=np.float64)
    if num < MIN_UNBOUNDED or np.ptp(sample) <= 1e-12 * np.abs(sample).max():
        return None
    generator = np.random.default_rng(seed)
    mean, deviation = sample.mean(), sample.std(ddof=1)
    ratios = []
    for size in _portions(NUM_RESAMPLES, max(1, _BLOCK // num)):
        again = sample[generator.integers(0, num, size=(size, num))]
        spread = again.std(axis=1, ddof=1)
        ratios.append(np.divide(again.mean(axis=1) - mean, spread, out=np.zeros(size), where=spread > 0))
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return float(mean - high * deviation), float(mean - low * deviation)


def seed_interval(values: Sequence[float], over_prompts: tuple[float, float]) -> tuple[float, float, float]:
    """Compute the mean of a rate over training seeds, with an interval over both seeds and prompts.

    A seed affects all prompts at once, so answers of several seeds are not independent samples. The half-widths of
    Student's interval over seeds and of the interval over prompts are added as squares (MOVER, as in
    `independent_mean_interval`). In simulation this covers with and without variation between seeds.

    Args:
        values: (n,) rates by seed on the same prompts; at least two.
        over_prompts: distances from the mean to the low and the high end of its interval over prompts.

    Returns:
        (value, low, high).
    """
    value = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / sqrt(len(values)))
    return value, value - hypot(half, over_prompts[0]), value + hypot(half, over_prompts[1])


def independent_mean_interval(parts: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Compute the interval of a mean of numbers with independent errors, from their intervals.

    The method of variance estimates recovery (MOVER; Zou and Donner 2008, "Construction of confidence intervals about
    effect measures", Statistics in Medicine 27, 1693-1702): distances to the ends are added as squares.

    Args:
        parts: (value, low, high) of each number.

    Returns:
        (value, low, high).

    Raises:
        ValueError: `parts` is empty.
    """
    if not parts:
        raise ValueError("no value to take the mean of")
    num = len(parts)
    value = sum(part[0] for part in parts) / num
    down = sqrt(sum((part[0] - part[1]) ** 2 for part in parts)) / num
    up = sqrt(sum((part[2] - part[0]) ** 2 for part in parts)) / num
    return value, value - down, value + up
