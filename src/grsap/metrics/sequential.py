"""Anytime-valid intervals: monitor a share during sampling without inflating the error rate."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy.stats import hypergeom


def anytime_interval(outcomes: Collection[bool | None], num: int, error_rate: float = 0.05) -> tuple[float, float]:
    """Compute the interval of a share over a finite list from its first items in random order, at any stopping time.

    Args:
        outcomes: of the items seen so far; None is unknown and widens the interval at both ends.
        num: number of items in the list, at least 1.
        error_rate: as in `FiniteShare`.

    Returns:
        (low, high) in [0, 1].
    """
    least, most = FiniteShare(num, error_rate), FiniteShare(num, error_rate)
    least.update(sum(value is True for value in outcomes), len(outcomes))
    most.update(sum(value is not False for value in outcomes), len(outcomes))
    return least.low, most.high


class FiniteShare:
    """A confidence sequence for the share of True in a finite list that is sampled in random order.

    The prior-posterior ratio martingale of Waudby-Smith and Ramdas 2020 ("Confidence sequences for sampling without
    replacement", NeurIPS), with a uniform prior over the number of True: it bets against each possible
    number, and excludes it once the wealth reaches 1 / error_rate. With a probability of at least 1 - error_rate the
    true number is in the interval at all times, so sampling may stop at any time, for any reason. After the last
    item the interval is one point.

    Args:
        num: number of items, at least 1.
        error_rate: probability that the true share is ever outside, in (0, 1).

    Attributes:
        num_seen: items counted so far.
        low, high: the interval so far, as shares in [0, 1].
    """

    def __init__(self, num: int, error_rate: float = 0.05) -> None:
        if num < 1 or not 0 < error_rate < 1:
            raise ValueError(f"num is {num} and error_rate {error_rate}")
        self.num = num
        self.error_rate = error_rate
        self.num_seen = 0
        self._possible = np.ones(num + 1, dtype=bool)

    def update(self, num_true: int, num_seen: int) -> None:
        """Update the interval.

        Args:
            num_true: of all items seen so far.
            num_seen: items seen so far, the first ones of a random order.

        Raises:
            ValueError: the counts decrease, or exceed the list.
        """
        if not (self.num_seen <= num_seen <= self.num and 0 <= num_true <= num_seen):
            raise ValueError(f"{num_true} of {num_seen} after {self.num_seen} of {self.num}")
        self.num_seen = num_seen
        likelihood = hypergeom.pmf(num_true, self.num, np.arange(self.num + 1), num_seen)
        # Under the uniform prior each num_true has the probability 1 / (num_seen + 1).
        wealth_is_small = likelihood * (num_seen + 1) > self.error_rate
        still = self._possible & wealth_is_small
        # An unlucky order can exclude every number: then keep those that are consistent with the counts.
        self._possible = still if still.any() else likelihood > 0

    @property
    def low(self) -> float:
        """The smallest share that is still possible."""
        return float(np.flatnonzero(self._possible)[0]) / self.num

    @property
    def high(self) -> float:
        """The largest share that is still possible."""
        return float(np.flatnonzero(self._possible)[-1]) / self.num

    def decides(self, bound: float) -> bool:
        """Return whether the whole interval is at most `bound`, or above it."""
        return self.high <= bound or self.low > bound
