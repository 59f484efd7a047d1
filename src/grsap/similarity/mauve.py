"""MAUVE: similarity of two sets of texts, from a curve of divergences between their quantised embeddings.

Implements the definition in Pillutla et al. 2021, "MAUVE: Measuring the Gap Between Neural Text and Human Text using
Divergence Frontiers" (arXiv 2102.01454), section 2: both sets are embedded and quantised together by k-means. MAUVE is
the area under the curve {(exp(-c KL(Q | R)), exp(-c KL(P | R))) : R = l P + (1 - l) Q, 0 < l < 1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import beta, xlogy

from grsap.metrics.intervals import Z95
from grsap.similarity.clusters import k_means
from grsap.similarity.principal import Points, principal_scores

Histogram = npt.NDArray[np.floating] | npt.NDArray[np.integer]
"""(K,) shares or counts of the clusters."""

EXPLAINED_SHARE = 0.9
"""Share of the variance that the principal components kept for k-means explain."""
ROWS_PER_CLUSTER = 10
"""As in the paper: 500 clusters for 5,000 texts per side."""
NUM_POINTS = 512
"""Number of points of the curve."""
NUM_RESAMPLES = 200


def smallest_mauve(scaling: float) -> float:
    """Return MAUVE of disjoint distributions: c B(c, c + 1), 0.004 for c = 5, but 0.167 for c = 2.

    For these, KL(P | R) = -log l and KL(Q | R) = -log(1 - l), so the curve is ((1 - l)^c, l^c).
    """
    return float(scaling * beta(scaling + 1, scaling))


def divergence_curve(
    p: Histogram, q: Histogram, scaling: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the points of the curve from (0, 1) to (1, 0), both included.

    Args:
        p: (K,) counts or shares; at least one is positive.
        q: (K,) counts or shares of the other set.
        scaling: the paper's c, above 0.

    Returns:
        x: exp(-c KL(Q | R)), ascending; y: exp(-c KL(P | R)), descending.
    """
    p, q = (part.astype(np.float64) / part.sum() for part in (p, q))
    # More points where the curve is steep: near the ends.
    mix = (0.5 * (1 + np.cos(np.pi * np.arange(1, NUM_POINTS) / NUM_POINTS)))[:, None]
    log_r = np.log(np.where(p + q > 0, mix * p + (1 - mix) * q, 1.0))
    x = np.exp(-scaling * np.maximum(xlogy(q, q).sum() - (q * log_r).sum(axis=1), 0.0))
    y = np.exp(-scaling * np.maximum(xlogy(p, p).sum() - (p * log_r).sum(axis=1), 0.0))
    return np.concatenate([[0.0], x, [1.0]]), np.concatenate([[1.0], y, [0.0]])


def mauve_of_histograms(p: Histogram, q: Histogram, scaling: float) -> float:
    """Return the area under `divergence_curve`, by the trapezoidal rule; in [`smallest_mauve`, 1]."""
    x, y = divergence_curve(p, q, scaling)
    return float(np.trapezoid(y, x))


@dataclass(frozen=True)
class Mauve:
    """MAUVE of two samples.

    Attributes:
        value: mean over k-means runs.
        low, high: 95 % interval of the sampling error, from resampled counts of the clusters and the variance over
            k-means runs. It does not include the bias, which depends on the number of rows.
        scaling: the scaling factor c.
        num_clusters: number of clusters of k-means.
        min_over_seeds, max_over_seeds: range over k-means runs.
    """

    value: float
    low: float
    high: float
    scaling: float
    num_clusters: int
    min_over_seeds: float
    max_over_seeds: float


def mauve(a: Points, b: Points, scalings: tuple[float, ...] = (5.0,), num_seeds: int = 5, seed: int = 0) -> list[Mauve]:
    """Compute MAUVE of two sets of embeddings for each scaling factor, on the same clusters.

    The union of both sets is centred, projected onto the principal axes that explain 90 % of the variance, and
    clustered; the number of clusters is a tenth of the rows of the smaller set.

    Args:
        a: (N, D), at least 20 rows.
        b: (M, D), at least 20 rows.
        scalings: values of c; the paper's default is 5, GR-SAP uses 2.
        num_seeds: number of k-means runs.
        seed: seed of all runs.

    Raises:
        ValueError: a set has fewer than 20 rows, which would give a single cluster.
    """
    if min(len(a), len(b)) < 2 * ROWS_PER_CLUSTER:
        raise ValueError(f"{len(a)} and {len(b)} rows: each side needs at least {2 * ROWS_PER_CLUSTER}")
    num_clusters = min(len(a), len(b)) // ROWS_PER_CLUSTER
    points = principal_scores(np.concatenate([a, b]), share=EXPLAINED_SHARE)
    random = np.random.default_rng(seed)
    pairs = []
    for number in range(num_seeds):
        labels = k_means(points, num_clusters, seed * 1000 + number)
        pairs.append([np.bincount(part, minlength=num_clusters) for part in (labels[: len(a)], labels[len(a) :])])
    return [_summary(pairs, scaling, random) for scaling in scalings]


def _summary(pairs: list[list[npt.NDArray[np.intp]]], scaling: float, random: np.random.Generator) -> Mauve:
    values = [mauve_of_histograms(p, q, scaling) for p, q in pairs]
    p, q = pairs[0]
    again = [
        mauve_of_histograms(random.multinomial(p.sum(), p / p.sum()), random.multinomial(q.sum(), q / q.sum()), scaling)
        for _ in range(NUM_RESAMPLES)
    ]
    between = np.var(values, ddof=1) if len(values) > 1 else 0.0
    half = Z95 * float(np.sqrt(np.var(again, ddof=1) + between / len(values)))
    value = float(np.mean(values))
    return Mauve(
        value=value,
        low=max(value - half, 0.0),
        high=min(value + half, 1.0),
        scaling=scaling,
        num_clusters=len(p),
        min_over_seeds=min(values),
        max_over_seeds=max(values),
    )
