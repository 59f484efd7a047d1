"""How small a change a comparison could have found."""

from __future__ import annotations

from math import sqrt

from grsap.metrics.intervals import Z95, wilson_interval

Z80 = 0.8416212335729143
"""80 % quantile of the normal distribution."""


def smallest_detectable_difference(num_pairs: int, num_changed: int) -> float | None:
    """The smallest change of a share that McNemar's test at 5 %, two-sided, finds with a chance of 80 %.

    Connor 1987, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43,
    207-211, solved for the difference. The share of prompts whose outcome changes at all is not known: what was seen
    has an interval, and its upper end is taken, so that the answer is on the safe side.

    Args:
        num_pairs: prompts that both subjects answered and that have both verdicts.
        num_changed: of these, how many have another outcome.

    Returns:
        In (0, 1]; None if even a change of all prompts could not be found, because there are too few.
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
