"""Standard errors by subsets: known for a mean; for neighbour scores, compared with the spread over new samples."""

from __future__ import annotations

import numpy as np
import pytest

from grsap.similarity import neighbour_scores
from grsap.similarity.subsampling import subset_deviations


@pytest.mark.parametrize("num", [300, 4000])
def test_of_a_difference_of_means(num: int) -> None:
    """sqrt(var_a / n + var_b / n), within the error of 40 subsets (about 11 % at one deviation)."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(num, 1)), 2 * random.normal(size=(num, 1))
    found = [subset_deviations(lambda a, b: np.array([a.mean() - b.mean()]), a, b, seed)[0] for seed in range(6)]
    assert np.mean(found) == pytest.approx(np.sqrt((a.var() + b.var()) / num), rel=0.15)


def test_of_precision_where_the_balls_vary() -> None:
    """Means 2 apart in 8 dimensions: precision of 200 rows varies twice as much as a share of 200 independent rows."""
    random = np.random.default_rng(1)
    shift = 2 * np.eye(8)[0]

    def precision(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([neighbour_scores(b, a).precision.mean()])

    pairs = [(random.normal(size=(200, 8)) + shift, random.normal(size=(200, 8))) for _ in range(30)]
    values = [precision(*pair)[0] for pair in pairs]
    found = np.mean([subset_deviations(precision, *pair, seed)[0] for seed, pair in enumerate(pairs[:6])])
    seen = np.std(values, ddof=1)
    plain = np.sqrt(np.mean(values) * (1 - np.mean(values)) / 200)
    assert seen > 1.4 * plain
    assert 0.7 * seen < found < 1.6 * seen
