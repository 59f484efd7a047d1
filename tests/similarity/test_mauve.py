"""MAUVE: the curve against numerical integration of its definition, and samples with known results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from grsap.similarity import divergence_curve, mauve, mauve_of_histograms, smallest_mauve
from grsap.similarity.clusters import k_means
from grsap.similarity.principal import principal_scores


def area_by_definition(p: np.ndarray, q: np.ndarray, c: float) -> float:
    """Area under {(exp(-c KL(Q|R)), exp(-c KL(P|R)))}: the integral of y |dx/dl| over l, and the areas before the
    curve's first point and after its last."""

    def kl(a: np.ndarray, b: np.ndarray) -> float:
        return sum(x * np.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)

    def y(mix: float) -> float:
        return float(np.exp(-c * kl(p, mix * p + (1 - mix) * q)))

    def x(mix: float) -> float:
        return float(np.exp(-c * kl(q, mix * p + (1 - mix) * q)))

    def slope(mix: float) -> float:  # dx/dl = -c x dKL(Q|R)/dl, by hand
        r = mix * p + (1 - mix) * q
        inner = sum(b * (a - b) / m for a, b, m in zip(p, q, r, strict=True) if b > 0)
        return c * x(mix) * inner

    area, _ = quad(lambda mix: -y(mix) * slope(mix), 0, 1, limit=200)
    return area + x(1 - 1e-12)  # from (0, 1) to the curve's beginning the height is 1


@pytest.mark.parametrize("c", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(
    ("p", "q"),
    [([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]), ([0.7, 0.2, 0.1, 0.0], [0.0, 0.1, 0.4, 0.5]), ([0.9, 0.1], [0.6, 0.4])],
)
def test_the_area_is_that_of_the_definition(p: list[float], q: list[float], c: float) -> None:
    expected = area_by_definition(np.array(p), np.array(q), c)
    assert 0.02 < expected < 0.999
    assert mauve_of_histograms(np.array(p), np.array(q), c) == pytest.approx(expected, abs=2e-4)


def test_ends_of_the_scale() -> None:
    same, one, other = np.array([3, 5, 2]), np.array([4, 0]), np.array([0, 9])
    assert mauve_of_histograms(same, 10 * same, 5.0) == pytest.approx(1.0, abs=1e-9)
    assert smallest_mauve(2.0) == pytest.approx(1 / 6)
    assert smallest_mauve(5.0) == pytest.approx(1 / 252)
    for c in (2.0, 5.0):
        assert mauve_of_histograms(one, other, c) == pytest.approx(smallest_mauve(c), abs=1e-4)


counts = st.lists(st.integers(0, 50), min_size=5, max_size=5).map(np.array).filter(lambda part: part.sum() > 0)


@given(counts, counts)
def test_symmetric_within_its_range_and_falling_with_the_scaling(p: np.ndarray, q: np.ndarray) -> None:
    two, five = (mauve_of_histograms(p, q, c) for c in (2.0, 5.0))
    assert mauve_of_histograms(q, p, 5.0) == pytest.approx(five, abs=1e-9)
    assert smallest_mauve(5.0) - 1e-4 <= five <= two + 1e-9 <= 1 + 2e-9
    x, y = divergence_curve(p, q, 5.0)
    assert (np.diff(x) >= -1e-12).all()
    assert (np.diff(y) <= 1e-12).all()


@given(counts, counts)
def test_rises_as_one_set_is_mixed_into_the_other(p: np.ndarray, q: np.ndarray) -> None:
    p, q = p / p.sum(), q / q.sum()
    values = [mauve_of_histograms(p, (1 - share) * q + share * p, 5.0) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert (np.diff(values) >= -1e-6).all()


def blobs(shares: list[float], num: int, seed: int) -> np.ndarray:
    """`num` points of clusters far apart, in 6 dimensions."""
    random = np.random.default_rng(seed)
    which = random.choice(len(shares), num, p=shares)
    return random.normal(size=(num, 6)) + 30 * np.eye(6)[which]


def test_clusters_that_lie_apart_are_found() -> None:
    points = blobs([0.4, 0.3, 0.3], 300, 0)
    labels = k_means(points, 3, 1)
    truth = points.argmax(axis=1)
    assert len({(int(a), int(b)) for a, b in zip(labels, truth, strict=True)}) == 3
    assert np.array_equal(k_means(points, 3, 1), labels)


def test_coinciding_points_leave_clusters_empty() -> None:
    labels = k_means(np.repeat(np.eye(2), 5, axis=0), 4, 0)
    assert len(set(labels[:5])) == len(set(labels[5:])) == 1
    assert labels[0] != labels[5]


def test_principal_scores_keep_what_they_say() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(500, 4)) * [10, 5, 1, 0.1] + 7
    whole = principal_scores(points)
    assert whole.shape == (500, 4)
    distances = np.linalg.norm(points[:50, None] - points[None, :50], axis=2)
    np.testing.assert_allclose(np.linalg.norm(whole[:50, None] - whole[None, :50], axis=2), distances, atol=1e-9)
    assert principal_scores(points, share=0.9).shape == (500, 2)  # 100 + 25 of 126 are more than 90 %
    assert principal_scores(points, share=0.5).shape == (500, 1)
    assert principal_scores(points, max_dimensions=3).shape == (500, 3)
    assert principal_scores(np.ones((5, 3))).shape[0] == 5


def test_known_mixture_of_clusters() -> None:
    """Two sets of the same clusters in other shares: MAUVE of the shares. Stated error 0.08 at 400 rows."""
    p, q = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    for c, each in zip((5.0, 2.0), mauve(blobs(p, 400, 0), blobs(q, 400, 1), (5.0, 2.0), 3), strict=True):
        expected = mauve_of_histograms(np.array(p), np.array(q), c)
        assert each.value == pytest.approx(expected, abs=0.08)
        assert each.low <= expected <= each.high
        assert each.min_over_seeds <= each.value <= each.max_over_seeds
        assert (each.scaling, each.num_clusters) == (c, 40)


def test_identical_disjoint_and_in_between() -> None:
    random = np.random.default_rng(3)
    reference = random.normal(size=(300, 8))
    far = np.zeros(8)
    far[0] = 40.0
    values = []
    for share in (0.0, 0.5, 1.0):
        population = random.normal(size=(300, 8))
        population[int(share * 300) :] += far
        values.append(mauve(reference, population, (5.0,), 2)[0])
    assert values[0].value == pytest.approx(smallest_mauve(5.0), abs=1e-3)
    assert 0.1 < values[1].value < 0.7
    assert values[2].value > 0.93  # stated: at least .93 for two samples of 300 rows of one distribution
    assert values[2].high == 1.0


def test_too_few_rows() -> None:
    with pytest.raises(ValueError, match="19 and 40 rows"):
        mauve(np.zeros((19, 2)), np.zeros((40, 2)))
