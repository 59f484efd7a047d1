"""Principal components, for estimators that need few dimensions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating]
"""(N, D): one row per text."""


def principal_scores(
    points: Points, *, share: float = 1.0, max_dimensions: int | None = None
) -> npt.NDArray[np.float64]:
    """Project centred points onto their first principal axes.

    Args:
        points: (N, D).
        share: least share of the variance that the axes explain, in (0, 1].
        max_dimensions: greatest number of axes, even if they explain less.

    Returns:
        (N, d) scores, d at least 1. Distances between rows are at most those between the points.
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
    explained = np.cumsum(variances)
    enough = int(np.searchsorted(explained, share * explained[-1] * (1 - 1e-12))) + 1
    num = max(1, min(enough, len(explained), max_dimensions or len(explained)))
    scores: npt.NDArray[np.float64] = centred @ axes[:, :num]
    return scores
