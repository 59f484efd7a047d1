"""Agreement of pairs of judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on the same exchanges. Missing verdicts are counted separately.

    Attributes:
        num_both: exchanges with a verdict of both judges.
        num_first_only: exchanges without a verdict of the second.
        num_second_only: exchanges without a verdict of the first.
        num_neither: exchanges without any verdict.
        observed: share of `num_both` with equal verdicts, in [0, 1]; None without such exchanges.
        kappa: agreement beyond chance, in [-1, 1] (Cohen 1960); None where it is undefined: without such exchanges, or
            if all verdicts of both are equal.
        kappa_low, kappa_high: 95 % interval for independent exchanges; None where kappa is. They are quantiles of kappa
            under the posterior of the four shares with Jeffreys' prior. The quantiles of 96 % are used: they cover at
            least 94 % from 20 exchanges on.
        positive_agreement: twice the number that both call True, over the sum of those that each calls True (Dice
            1945), in [0, 1]: agreement on a rare label; None if neither says True.
    """

    num_both: int
    num_first_only: int
    num_second_only: int
    num_neither: int
    observed: float | None
    kappa: float | None
    kappa_low: float | None = None
    kappa_high: float | None = None
    positive_agreement: float | None = None


def cohens_kappa(first: Sequence[bool | None], second: Sequence[bool | None]) -> Agreement:
    """Compute the agreement of two lists of verdicts on the same exchanges, in the same order.

    Raises:
        ValueError: the lists differ in length.
    """
    pairs = list(zip(first, second, strict=True))
    said = [(a, b) for a, b in pairs if a is not None and b is not None]
    observed = kappa = low = high = positive = None
    if said:
        counts = np.array([sum(each == cell for each in said) for cell in product((True, False), repeat=2)])
        observed = float(counts[0] + counts[3]) / len(said)
        kappa = None if len(said) in (counts[0], counts[3]) else float(_kappa(counts / len(said)))
        if kappa is not None:
            drawn = np.random.default_rng(0).dirichlet(counts + 0.5, 10_000)
            low, high = np.quantile(_kappa(drawn.T), (0.02, 0.98)).tolist()
        num_positive = 2 * counts[0] + counts[1] + counts[2]
        positive = float(2 * counts[0] / num_positive) if num_positive else None
    return Agreement(
        num_both=len(said),
        num_first_only=sum(a is not None and b is None for a, b in pairs),
        num_second_only=sum(a is None and b is not None for a, b in pairs),
        num_neither=sum(a is None and b is None for a, b in pairs),
        observed=observed,
        kappa=kappa,
        kappa_low=low,
        kappa_high=high,
        positive_agreement=positive,
    )


def _kappa(shares: np.ndarray) -> np.ndarray:
    """Return kappa (...) of shares (4, ...): True by both, by the first only, by the second only, by neither."""
    both, first, second, neither = shares
    by_chance = (both + first) * (both + second) + (neither + second) * (neither + first)
    return np.asarray((both + neither - by_chance) / (1 - by_chance))


def pairwise_agreement(said: Mapping[str, Sequence[bool | None]]) -> dict[tuple[str, str], Agreement]:
    """Compute the agreement of each pair of judges; `said` maps names to verdicts on the same exchanges."""
    return {(a, b): cohens_kappa(said[a], said[b]) for a, b in combinations(said, 2)}
