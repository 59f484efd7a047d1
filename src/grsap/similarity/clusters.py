"""k-means clustering."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_ITERATIONS = 100
_BLOCK = 4096

Labels = npt.NDArray[np.intp]


def k_means(points: npt.NDArray[np.float64], num_clusters: int, seed: int) -> Labels:
    """Cluster points by Lloyd's algorithm from k-means++ centres (Lloyd 1982; Arthur and Vassilvitskii 2007).

    Args:
        points: (N, d).
        num_clusters: in [1, N].
        seed: seed of the first centres.

    Returns:
        (N,) cluster of each point, in [0, num_clusters). Clusters may be empty if points coincide.
    """
    centres = _first_centres(points, num_clusters, np.random.default_rng(seed))
    labels = _nearest(points, centres)
    for _ in range(MAX_ITERATIONS):
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, points)
        counts = np.bincount(labels, minlength=num_clusters)
        filled = counts > 0
        centres[filled] = sums[filled] / counts[filled, None]
        moved = _nearest(points, centres)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels


def _first_centres(points: npt.NDArray[np.float64], num: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw centres from the points, each in proportion to its squared distance from the nearest centre so far."""
    chosen = [int(random.integers(len(points)))]
    squared = np.square(points - points[chosen[0]]).sum(axis=1)
    while len(chosen) < num:
        total = squared.sum()
        place = int(random.choice(len(points), p=squared / total)) if total > 0 else int(random.integers(len(points)))
        chosen.append(place)
        squared = np.minimum(squared, np.square(points - points[place]).sum(axis=1))
    return points[chosen].copy()


def _nearest(points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> Labels:
    offsets = np.square(centres).sum(axis=1) / 2
    blocks = [points[start : start + _BLOCK] @ centres.T - offsets for start in range(0, len(points), _BLOCK)]
    return np.concatenate([block.argmax(axis=1) for block in blocks])
