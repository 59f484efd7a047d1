"""Agreement of two judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


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
    """

    num_both: int
    num_first_only: int
    num_second_only: int
    num_neither: int
    observed: float | None
    kappa: float | None


def cohens_kappa(first: Sequence[bool | None], second: Sequence[bool | None]) -> Agreement:
    """Agreement of two lists of verdicts on the same exchanges, in the same order.

    Raises:
        ValueError: the lists differ in length.
    """
    pairs = list(zip(first, second, strict=True))
    said = [(a, b) for a, b in pairs if a is not None and b is not None]
    observed = kappa = None
    if said:
        observed = sum(a == b for a, b in said) / len(said)
        first_rate, second_rate = (sum(column) / len(said) for column in zip(*said, strict=True))
        by_chance = first_rate * second_rate + (1 - first_rate) * (1 - second_rate)
        kappa = None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
    return Agreement(
        num_both=len(said),
        num_first_only=sum(a is not None and b is None for a, b in pairs),
        num_second_only=sum(a is None and b is not None for a, b in pairs),
        num_neither=sum(a is None and b is None for a, b in pairs),
        observed=observed,
        kappa=kappa,
    )


def pairwise_agreement(said: Mapping[str, Sequence[bool | None]]) -> dict[tuple[str, str], Agreement]:
    """Agreement of each pair of judges, by their names; `said` is what each said of the same exchanges."""
    return {(a, b): cohens_kappa(said[a], said[b]) for a, b in combinations(said, 2)}
