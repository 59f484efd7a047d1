"""Nearest-neighbour estimates: how far two sets cover each other, and the divergence between them.

Precision and recall: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models"
(arXiv 1904.06991). Density and coverage: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative
Models" (arXiv 2002.09797). Divergence: Wang, Kulkarni and Verdú 2009, "Divergence Estimation for Multidimensional
Densities Via k-Nearest-Neighbor Distances", IEEE Transactions on Information Theory 55; Pérez-Cruz 2008.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grsap.similarity.principal import Points

NUM_NEIGHBOURS = 5
"""As in Naeem et al. 2020."""

_BLOCK = 1024
_ZERO = 1e-12  # smaller squared distances are rounding errors of equal points

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NeighbourScores:
    """Values per row; a score is their mean.

    The ball of a row has as its radius the distance to the row's k-th neighbour in its own set.

    Attributes:
        precision: (M,) whether a row of the population is in the ball of any row of the reference.
        density: (M,) number of such balls that it is in, over k; 1 on average if both sets have one distribution.
        recall: (N,) whether a row of the reference is in the ball of any row of the population.
        coverage: (N,) whether the ball of a row of the reference contains any row of the population.
    """

    precision: Values
    density: Values
    recall: Values
    coverage: Values


def neighbour_scores(reference: Points, population: Points, k: int = NUM_NEIGHBOURS) -> NeighbourScores:
    """Compute precision, density, recall and coverage per row.

    Args:
        reference: (N, D), the set to match; more than k rows.
        population: (M, D); more than k rows.
        k: number of the neighbour that determines a ball's radius.

    Raises:
        ValueError: a set has k rows or fewer.
    """
    around_reference = kth_distances(reference, reference, k, same=True)
    around_population = kth_distances(population, population, k, same=True)
    num_balls = np.zeros(len(population))
    recall = np.zeros(len(reference), bool)
    coverage = np.zeros(len(reference), bool)
    for rows, squared in _squared_distances(reference, population):
        in_ball = squared <= np.square(around_reference[rows])[:, None] + _ZERO
        num_balls += in_ball.sum(axis=0)
        coverage[rows] = in_ball.any(axis=1)
        recall[rows] = (squared <= np.square(around_population)[None] + _ZERO).any(axis=1)
    return NeighbourScores(
        precision=(num_balls > 0).astype(np.float64),
        density=num_balls / k,
        recall=recall.astype(np.float64),
        coverage=coverage.astype(np.float64),
    )


def coverage_if_same(num_reference: int, num_population: int, k: int = NUM_NEIGHBOURS) -> float:
    """Return the expected coverage of two samples of one continuous distribution (Naeem et al. 2020, appendix A).

    1 - prod_i (N - i) / (N + M - i), i = 1..k: close to 1 - 2^-k for sets of equal size.
    """
    share = 1.0
    for i in range(1, k + 1):
        share *= (num_reference - i) / (num_reference + num_population - i)
    return 1.0 - share


def kl_terms(p: Points, q: Points, k: int = NUM_NEIGHBOURS) -> Values:
    """Return one term per row of P, whose mean estimates KL(P | Q) in nats.

    A term is d log(distance to the k-th neighbour in Q / distance to the k-th neighbour in P) + log(M / (N - 1)). The
    estimate is consistent, but biased towards 0 for many dimensions and few rows; it may be negative.

    Args:
        p: (N, d) sample of P.
        q: (M, d) sample of Q.
        k: number of the neighbour.

    Returns:
        (N,) terms.

    Raises:
        ValueError: a set has too few rows, or more than k equal rows, for which the estimate is undefined.
    """
    within, across = kth_distances(p, p, k, same=True), kth_distances(p, q, k)
    if not (within > 0).all() or not (across > 0).all():
        raise ValueError(f"more than {k} rows are equal")
    terms: Values = p.shape[1] * np.log(across / within) + np.log(len(q) / (len(p) - 1))
    return terms


def kth_distances(points: Points, others: Points, k: int, *, same: bool = False) -> Values:
    """Return the distance of each point to its k-th nearest neighbour.

    Args:
        points: (N, D).
        others: (M, D), the set in which neighbours are searched.
        k: number of the neighbour, from 1.
        same: whether both are one set. Then a point does not count as its own neighbour.

    Returns:
        (N,) distances.

    Raises:
        ValueError: `others` has too few rows.
    """
    place = k if same else k - 1
    if len(others) <= place:
        raise ValueError(f"{len(others)} rows have no neighbour number {k}")
    found = np.empty(len(points))
    for rows, squared in _squared_distances(points, others):
        found[rows] = np.sqrt(np.partition(squared, place, axis=1)[:, place])
    return found


def _squared_distances(points: Points, others: Points) -> Iterator[tuple[slice, Values]]:
    """Yield blocks of rows: their slice, and their squared distances (B, M) to all others."""
    points, others = points.astype(np.float64), others.astype(np.float64)
    norms = np.square(others).sum(axis=1)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        squared = np.square(block).sum(axis=1)[:, None] + norms[None] - 2 * block @ others.T
        squared[squared < _ZERO] = 0.0
        yield slice(start, start + len(block)), squared
