"""Confidence intervals at 95 %."""

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


NUM_RESAMPLES = 2000
_BLOCK = 500_000  # weights in memory at once


def share_interval(num_true: int, num: int) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934): it covers in at least 95 %, whatever the share.

    Args:
        num_true: successes, in [0, num].
        num: trials, independent of each other.

    Returns:
        (low, high) in [0, 1]; (0, 1) without a trial.

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
    """Interval of the mean of a bounded quantity that needs no other assumption on its distribution, seeded.

    Each end is a quantile of means under uniform random weights, with one more value at the bound (Gaffke 2005, "Three
    test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"; Learned-Miller and
    Thomas 2019, "A new confidence interval for the mean of a bounded random variable"). If all values are at the bounds
    it is `share_interval`. Equal values get an interval as wide as their number allows.

    Args:
        values: independent of each other, in [lowest, highest].
        lowest: the smallest possible value.
        highest: the largest possible value.

    Returns:
        (low, high); (lowest, highest) without a value.
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
    """`num` as a sum of numbers of at most `most`."""
    return [min(most, num - begin) for begin in range(0, num, most)]


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


def unbounded_mean_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """Interval of the mean of a quantity without bounds, by the bootstrap of Student's t (Efron 1979), seeded.

    Its coverage holds from about 50 values on; see `docs/statistics.md` for skewed quantities.

    Args:
        values: at least two, independent of each other.
        seed: of the resamples.

    Raises:
        ValueError: there are fewer than two values.
    """
    num, sample = len(values), np.asarray(values, dtype=np.float64)
    if num < 2:
        raise ValueError("a mean of fewer than two values has no interval")
    generator = np.random.default_rng(seed)
    mean, deviation = sample.mean(), sample.std(ddof=1)
    if not deviation:
        return float(mean), float(mean)
    ratios = []
    for size in _portions(NUM_RESAMPLES, max(1, _BLOCK // num)):
        again = sample[generator.integers(0, num, size=(size, num))]
        spread = again.std(axis=1, ddof=1)
        ratios.append(np.divide(again.mean(axis=1) - mean, spread, out=np.zeros(size), where=spread > 0))
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return float(mean - high * deviation), float(mean - low * deviation)


def seed_interval(values: Sequence[float], over_prompts: tuple[float, float]) -> tuple[float, float, float]:
    """Mean of one rate over training seeds, for a statement on a recipe: seeds vary, and so do prompts.

    A seed moves all prompts at once, so that answers of several seeds are no sample of independent prompts. Student's
    interval over the seeds and the interval over prompts are joined as squares (MOVER, as in
    `independent_mean_interval`), which covers in simulation whether seeds matter or not.

    Args:
        values: the rate with each seed, on the same prompts; at least two.
        over_prompts: distances from the mean to the ends of its interval over prompts.

    Returns:
        (value, low, high).
    """
    value = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / sqrt(len(values)))
    return value, value - hypot(half, over_prompts[0]), value + hypot(half, over_prompts[1])


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
