"""Classifier two-sample test: how well a classifier separates two sets.

Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests" (arXiv 1610.06545).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest

from grsap.metrics.intervals import share_interval
from grsap.similarity.principal import Points


@dataclass(frozen=True)
class TwoSampleTest:
    """Test accuracy of a logistic regression, trained on one half of the rows and tested on the other.

    Attributes:
        num_test: number of test rows.
        accuracy: share classified correctly; 0.5 on average if both sets have one distribution.
        low, high: exact 95 % interval.
        p_value: exact, one-sided; the hypothesis is that both sets have one distribution.
    """

    num_test: int
    accuracy: float
    low: float
    high: float
    p_value: float

    @property
    def min_total_variation(self) -> float:
        """Lower bound of the total variation TV between the distributions, with 97.5 % confidence.

        No classifier has an accuracy above (1 + TV) / 2 on sets of equal size.
        """
        return max(0.0, 2 * self.low - 1)

    @property
    def min_kl(self) -> float:
        """Lower bound of the KL in either direction, in nats, with 97.5 % confidence: the greater of Pinsker's
        2 TV^2 and Bretagnolle and Huber's -log(1 - TV^2)."""
        return max(2 * self.min_total_variation**2, -log(1 - self.min_total_variation**2))


def two_sample_test(a: Points, b: Points, seed: int = 0) -> TwoSampleTest:
    """Train on a random half of each set and test on the rest. Both sets are cut to min(N, M) random rows.

    Args:
        a: (N, D), at least 4 rows.
        b: (M, D), at least 4 rows.
        seed: seed of the split.

    Raises:
        ValueError: a set has fewer rows.
    """
    num = min(len(a), len(b))
    if num < 4:
        raise ValueError(f"{len(a)} and {len(b)} rows: each side needs at least 4")
    random = np.random.default_rng(seed)
    a, b = (part[random.permutation(len(part))[:num]].astype(np.float64) for part in (a, b))
    half = num // 2
    train = np.concatenate([a[:half], b[:half]])
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale == 0] = 1.0
    labels = np.repeat([0.0, 1.0], half)
    weights = logistic_regression((train - centre) / scale, labels)
    test = (np.concatenate([a[half:], b[half:]]) - centre) / scale
    is_b = np.repeat([False, True], num - half)
    num_right = int(((test @ weights[:-1] + weights[-1] > 0) == is_b).sum())
    low, high = share_interval(num_right, len(test))
    p_value = float(binomtest(num_right, len(test), 0.5, alternative="greater").pvalue)
    return TwoSampleTest(len(test), num_right / len(test), low, high, p_value)


def logistic_regression(points: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fit weights and intercept by maximum a posteriori. The prior of each weight is N(0, 1/D), so that the logits of
    standardised points have prior variance 1.

    Args:
        points: (N, D), standardised.
        labels: (N,) of 0 and 1.

    Returns:
        (D + 1,) weights, then the intercept.
    """
    precision = float(points.shape[1])

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logits = points @ weights[:-1] + weights[-1]
        errors = expit(logits) - labels
        value = np.logaddexp(0, logits).sum() - logits @ labels + 0.5 * precision * weights[:-1] @ weights[:-1]
        gradient = np.append(points.T @ errors + precision * weights[:-1], errors.sum())
        return float(value), gradient

    found = minimize(loss, np.zeros(points.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights: npt.NDArray[np.float64] = found.x
    return weights
