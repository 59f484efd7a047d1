"""Nearest neighbours: against plain loops, and on distributions with known results."""

from __future__ import annotations

import numpy as np
import pytest

from grsap.similarity import coverage_if_same, kl_terms, neighbour_scores


def test_equal_plain_loops() -> None:
    random = np.random.default_rng(0)
    real, fake, k = random.normal(size=(40, 3)), random.normal(size=(30, 3)) + 0.5, 3

    def radius(points: np.ndarray, place: int) -> float:
        return sorted(float(np.linalg.norm(points[place] - other)) for other in points)[k]

    inside = [[np.linalg.norm(r - f) <= radius(real, n) for f in fake] for n, r in enumerate(real)]
    backwards = [[np.linalg.norm(r - f) <= radius(fake, n) for n, f in enumerate(fake)] for r in real]
    scores = neighbour_scores(real, fake, k)
    assert scores.precision.tolist() == [float(any(row[m] for row in inside)) for m in range(30)]
    assert scores.density.tolist() == [sum(row[m] for row in inside) / k for m in range(30)]
    assert scores.coverage.tolist() == [float(any(row)) for row in inside]
    assert scores.recall.tolist() == [float(any(row)) for row in backwards]
    assert 0 < scores.recall.mean() < 1
    assert 0 < scores.precision.mean() < 1


@pytest.mark.parametrize(("num", "other"), [(200, 200), (200, 100)])
def test_two_samples_of_one_distribution(num: int, other: int) -> None:
    """Density 1 and the closed form of coverage: within 0.03 over 20 pairs."""
    random = np.random.default_rng(1)
    scores = [neighbour_scores(random.normal(size=(num, 6)), random.normal(size=(other, 6))) for _ in range(20)]
    assert np.mean([each.density.mean() for each in scores]) == pytest.approx(1.0, abs=0.03)
    expected = coverage_if_same(num, other)
    assert np.mean([each.coverage.mean() for each in scores]) == pytest.approx(expected, abs=0.01)


def test_coverage_if_same_by_hand() -> None:
    assert coverage_if_same(10, 10, 1) == pytest.approx(1 - 9 / 19)
    assert coverage_if_same(10, 10, 2) == pytest.approx(1 - 9 / 19 * 8 / 18)
    assert coverage_if_same(100_000, 100_000) == pytest.approx(1 - 2**-5, abs=1e-4)


def test_disjoint_and_one_sided() -> None:
    random = np.random.default_rng(2)
    real = random.normal(size=(100, 4))
    nothing = neighbour_scores(real, random.normal(size=(100, 4)) + 50)
    assert [nothing.precision.sum(), nothing.density.sum(), nothing.recall.sum(), nothing.coverage.sum()] == [0] * 4
    # A population that knows one of two kinds: near the reference, and half of it uncovered.
    both = np.concatenate([real, random.normal(size=(100, 4)) + 50])
    half = neighbour_scores(both, random.normal(size=(100, 4)))
    assert half.precision.mean() > 0.8
    assert half.coverage[100:].sum() == half.recall[100:].sum() == 0


def test_equal_rows_have_a_ball_without_extent() -> None:
    rows = np.array([[0.1, 0.7]] * 8 + [[5.0, 5.0 + n] for n in range(8)])
    scores = neighbour_scores(rows, rows + 0.0, 5)
    assert scores.precision.tolist() == scores.recall.tolist() == scores.coverage.tolist() == [1.0] * 16


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_kl_of_gaussians_in_two_dimensions(shift: float) -> None:
    """KL of unit Gaussians a distance apart is its square over 2. Stated: within 0.1 for 2,000 rows in 2 dimensions."""
    random = np.random.default_rng(4)
    p, q = random.normal(size=(2000, 2)), random.normal(size=(2000, 2)) + shift * np.eye(2)[0]
    assert kl_terms(p, q).mean() == pytest.approx(shift**2 / 2, abs=0.1)


def test_kl_of_narrow_in_wide() -> None:
    """Of Gaussians: log s + 1 / (2 s^2) - 1/2 a dimension. Stated: within 0.15."""
    random = np.random.default_rng(5)
    narrow, wide = random.normal(size=(2000, 2)), 3 * random.normal(size=(2000, 2))
    assert kl_terms(narrow, wide).mean() == pytest.approx(2 * (np.log(3) + 1 / 18 - 0.5), abs=0.15)


def test_kl_of_wide_in_narrow_is_mostly_missed() -> None:
    """Where the population has no row, distances underestimate how improbable a row is: 1.7 of 5.8 nats."""
    random = np.random.default_rng(5)
    narrow, wide = random.normal(size=(1000, 2)), 3 * random.normal(size=(1000, 2))
    assert 2 * (-np.log(3) + 9 / 2 - 0.5) == pytest.approx(5.8, abs=0.01)
    assert kl_terms(wide, narrow).mean() == pytest.approx(1.7, abs=0.3)


def test_kl_in_eight_dimensions_is_biased_towards_zero() -> None:
    """Stated in docs/similarity.md: with 500 rows, 0.5 nats are estimated as about two thirds of it, and 0 as 0."""
    random = np.random.default_rng(6)
    shift = np.eye(8)[0]
    found = [kl_terms(random.normal(size=(500, 8)), random.normal(size=(500, 8)) + shift).mean() for _ in range(8)]
    same = [kl_terms(random.normal(size=(500, 8)), random.normal(size=(500, 8))).mean() for _ in range(8)]
    assert np.mean(found) == pytest.approx(0.36, abs=0.08)
    assert np.mean(same) == pytest.approx(0.0, abs=0.06)


def test_undefined_estimates() -> None:
    with pytest.raises(ValueError, match="5 rows have no neighbour number 5"):
        neighbour_scores(np.eye(5), np.eye(6)[:, :5])
    with pytest.raises(ValueError, match="more than 5 rows are equal"):
        kl_terms(np.zeros((8, 2)), np.random.default_rng(0).normal(size=(8, 2)))
