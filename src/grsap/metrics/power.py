"""Power of a paired comparison."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from grsap.metrics.intervals import share_interval

POWER = 0.8


def smallest_detectable_difference(num_pairs: int, num_changed: int) -> float | None:
    """Return the smallest change of a share that the exact two-sided McNemar test at 5 % detects with 80 % power.

    The exact power is summed over all numbers of changed pairs; the normal approximation overstates it for few pairs.
    The share of changed prompts is unknown; the upper end of its interval is used, which is conservative.

    Args:
        num_pairs: prompts with both verdicts.
        num_changed: those with different verdicts.

    Returns:
        A share in (0, 1], to 1e-4; None if even a change of all prompts could not be detected.
    """
    if num_pairs < 1:
        return None
    changed = share_interval(num_changed, num_pairs)[1]
    if mcnemar_power(num_pairs, 1.0, 1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        # A difference of d needs a share of changed prompts of at least d.
        is_found = mcnemar_power(num_pairs, max(changed, middle), middle) >= POWER
        low, high = (low, middle) if is_found else (middle, high)
    return high


def mcnemar_power(num_pairs: int, changed: float, difference: float) -> float:
    """Return the power in [0, 1] of the exact two-sided McNemar test at 5 % to detect a rise.

    Args:
        num_pairs: number of prompts.
        changed: share of prompts whose outcome changes, at least `difference`.
        difference: the rise of the share.
    """
    num_changed = np.arange(num_pairs + 1)
    most_falls = binom.ppf(0.025, num_changed, 0.5) - 1  # the largest count with a tail of at most .025, or one less
    most_falls += binom.cdf(most_falls + 1, num_changed, 0.5) <= 0.025
    falls = (1 - difference / changed) / 2
    return float((binom.pmf(num_changed, num_pairs, changed) * binom.cdf(most_falls, num_changed, falls)).sum())
