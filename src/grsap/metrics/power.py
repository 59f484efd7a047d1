"""Power of a paired comparison."""

from __future__ import annotations

from math import sqrt

from grsap.metrics.intervals import Z95, wilson_interval

Z80 = 0.8416212335729143
"""80 % quantile of the normal distribution."""


def smallest_detectable_difference(num_pairs: int, num_changed: int) -> float | None:
    """The smallest change of a share that a two-sided McNemar test at 5 % detects with 80 % power.

    Connor 1987, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43,
    207-211, solved for the difference. The share of prompts whose outcome changes is unknown: the upper end of its
    interval is taken, which is conservative.

    Args:
        num_pairs: prompts that both subjects answered and that have both verdicts.
        num_changed: those with another outcome.

    Returns:
        In (0, 1]; None if there are too few prompts to detect even a change of all.
    """
    if num_pairs < 1:
        return None
    changed = wilson_interval(num_changed, num_pairs)[1]

    def is_found(difference: float) -> bool:
        share = max(changed, difference)  # a change of d means that d of the prompts at least change
        needed = (Z95 * sqrt(share) + Z80 * sqrt(max(share - difference**2, 0.0))) ** 2
        return needed <= num_pairs * difference**2

    if not is_found(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high
