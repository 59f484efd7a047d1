"""Standard errors of nearest-neighbour estimates. A bootstrap would fail: repeated rows are their own neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from grsap.similarity.principal import Points

NUM_SUBSETS = 40
MAX_ROWS = 1000
"""Greatest number of rows of a subset; more would cost time and add little precision."""

Estimator = Callable[[Points, Points], npt.NDArray[np.float64]]
"""Computes (E,) estimates of two sets."""


def subset_deviations(estimator: Estimator, a: Points, b: Points, seed: int) -> npt.NDArray[np.float64]:
    """Estimate standard errors (E,) by the delete-d jackknife (Shao and Wu 1989, Annals of Statistics 17).

    Each subset has r of the n rows of both sets, drawn without replacement, r at most n / 2. The variance over subsets,
    times r / (n - r), is that of the estimates from all n rows.

    Args:
        estimator: called once per subset.
        a: (n, D).
        b: (m, D).
        seed: seed of the subsets.
    """
    random = np.random.default_rng(seed)
    num = min(len(a), len(b))
    kept = min(num // 2, MAX_ROWS)
    found = []
    for _ in range(NUM_SUBSETS):
        rows = [random.permutation(len(part))[: len(part) * kept // num] for part in (a, b)]
        found.append(estimator(a[rows[0]], b[rows[1]]))
    scale = kept / (num - kept)
    deviations: npt.NDArray[np.float64] = np.sqrt(scale * np.var(np.stack(found), axis=0, ddof=1))
    return deviations
