"""Agreement of two judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Two judges on the same exchanges. Missing verdicts are counted separately.

    Attributes:
        num_both: exchanges on which both say True or False.
        num_first_only: on which the second says nothing.
        num_second_only: on which the first says nothing.
        num_neither: on which neither says anything.
        observed: share of `num_both` on which they say the same; None without any.
        kappa: that share above what two judges with these rates would reach by chance, in [-1, 1] (Cohen 1960); None
            where it is undefined: nothing to compare, or both always say the same one word.
        kappa_low, kappa_high: 95 % interval: quantiles of kappa under the shares that these counts and a prior of half
            an exchange per cell allow (Jeffreys), for exchanges that are independent of each other; the quantiles are
            those of 96 %, which cover in at least 94 % from 20 exchanges on; None where kappa is.
        positive_agreement: of the exchanges that one of both calls True, twice those that both do, over all that each
            does (Dice 1945): agreement on what is rare; None if neither says True.
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
    """Agreement of two lists of verdicts on the same exchanges, in the same order.

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
    """Of shares (4, ...) of exchanges that both, the first alone, the second alone and neither call True."""
    both, first, second, neither = shares
    by_chance = (both + first) * (both + second) + (neither + second) * (neither + first)
    return np.asarray((both + neither - by_chance) / (1 - by_chance))


def pairwise_agreement(said: Mapping[str, Sequence[bool | None]]) -> dict[tuple[str, str], Agreement]:
    """Agreement of each pair of judges, by their names; `said` is what each said of the same exchanges."""
    return {(a, b): cohens_kappa(said[a], said[b]) for a, b in combinations(said, 2)}
