"""The classifier two-sample test on Gaussians whose best possible accuracy is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from grsap.similarity import two_sample_test
from grsap.similarity.classifier import TwoSampleTest, logistic_regression


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_reaches_the_bayes_accuracy(shift: float) -> None:
    """Unit Gaussians a distance apart: no accuracy exceeds Phi(distance / 2). Within 0.03."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(3000, 4)), random.normal(size=(3000, 4)) + shift * np.eye(4)[1]
    found = two_sample_test(a, b)
    best = norm.cdf(shift / 2)
    assert found.num_test == 3000
    assert found.accuracy == pytest.approx(best, abs=0.03)
    assert found.low < best < found.high
    assert found.p_value < 1e-9
    # Total variation of the two is 2 Phi(shift / 2) - 1, and KL is shift^2 / 2: both bounds hold, and are not idle.
    assert 0.7 * (2 * best - 1) < found.min_total_variation < 2 * best - 1
    assert 0.1 * shift**2 / 2 < found.min_kl < shift**2 / 2


def test_finds_nothing_where_there_is_nothing() -> None:
    """At a level of 5 % about one in twenty pairs of one distribution is significant: at most 6 of 60."""
    random = np.random.default_rng(1)
    found = [two_sample_test(random.normal(size=(100, 5)), random.normal(size=(100, 5)), n) for n in range(60)]
    assert sum(each.p_value <= 0.05 for each in found) <= 6
    assert np.mean([each.accuracy for each in found]) == pytest.approx(0.5, abs=0.02)
    assert sum(each.min_kl > 0 for each in found) <= 4


def test_sets_of_unlike_size_are_cut_to_the_smaller() -> None:
    random = np.random.default_rng(2)
    found = two_sample_test(random.normal(size=(400, 3)), random.normal(size=(41, 3)) + 100)
    assert (found.num_test, found.accuracy) == (42, 1.0)


def test_numbers_of_a_test_by_hand() -> None:
    found = TwoSampleTest(num_test=100, accuracy=0.9, low=0.8, high=0.95, p_value=0.0)
    assert found.min_total_variation == pytest.approx(0.6)
    assert found.min_kl == pytest.approx(max(2 * 0.36, -math.log(1 - 0.36)))
    assert TwoSampleTest(100, 0.45, 0.35, 0.55, 0.8).min_kl == 0.0


def test_logistic_regression_is_at_its_optimum() -> None:
    """One column: the posterior's maximum, found by a fine grid."""
    random = np.random.default_rng(3)
    points = random.normal(size=(30, 1))
    labels = (points[:, 0] + random.normal(size=30) > 0).astype(float)
    weights = logistic_regression(points, labels)

    def loss(slope: float, intercept: float) -> float:
        logits = slope * points[:, 0] + intercept
        return float((np.logaddexp(0, logits) - labels * logits).sum() + 0.5 * slope**2)

    best = min((loss(a, b), a, b) for a in np.linspace(0, 3, 121) for b in np.linspace(-2, 2, 161))
    assert weights == pytest.approx([best[1], best[2]], abs=0.03)
    assert loss(*weights) <= best[0] + 1e-9


def test_too_few_rows() -> None:
    with pytest.raises(ValueError, match="3 and 9 rows"):
        two_sample_test(np.zeros((3, 2)), np.zeros((9, 2)))
