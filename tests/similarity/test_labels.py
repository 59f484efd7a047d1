"""Divergence of labels: by hand, without bias, and with intervals of the stated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from grsap.similarity import effective_number, js_bits, label_divergence


def test_by_hand() -> None:
    assert js_bits(np.array([1, 1]), np.array([2, 2])) == 0.0
    assert js_bits(np.array([3, 0]), np.array([0, 4])) == 1.0
    # Mixture (.75, .25): H = .811278 bits; H(1, 0) = 0, H(.5, .5) = 1.
    assert js_bits(np.array([1, 0]), np.array([5, 5])) == pytest.approx(0.811278 - 0.5, abs=1e-6)


def draw(shares: np.ndarray, num: int, random: np.random.Generator) -> list[str]:
    return [str(label) for label in random.choice(len(shares), num, p=shares)]


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.3, 0.3])),
        (np.arange(1, 39) / 741, np.full(38, 1 / 38)),
    ],
    ids=["4 labels", "38 labels"],
)
def test_bias_and_interval(p: np.ndarray, q: np.ndarray) -> None:
    """25 pairs of 400 rows: the mean within 0.01 of the truth, and the 95 % interval over it in at least 21."""
    random = np.random.default_rng(0)
    truth = float(js_bits(p, q))
    found = [label_divergence(draw(p, 400, random), draw(q, 400, random), n) for n in range(25)]
    assert np.mean([each.value for each in found]) == pytest.approx(truth, abs=0.01)
    assert sum(each.low <= truth <= each.high for each in found) >= 21
    assert all(each.p_value <= 0.05 for each in found)


def test_one_distribution_of_many_labels() -> None:
    """Plain shares of 38 labels in 200 rows differ by .07 bits by chance alone; the corrected value does not."""
    random = np.random.default_rng(1)
    shares = np.full(38, 1 / 38)
    found = [label_divergence(draw(shares, 200, random), draw(shares, 200, random), n) for n in range(25)]
    assert np.mean([each.plug_in for each in found]) > 0.06
    assert np.mean([each.value for each in found]) < 0.02
    assert sum(each.low > 0 for each in found) <= 4
    assert sum(each.p_value <= 0.05 for each in found) <= 5


def test_nothing_in_common_and_the_same() -> None:
    apart = label_divergence(["a"] * 50, ["b"] * 50)
    assert (apart.value, apart.low, apart.high, apart.plug_in) == (1.0, 1.0, 1.0, 1.0)
    assert apart.p_value == pytest.approx(1 / 1001)
    same = label_divergence(["a", "b"] * 50, ["a", "b"] * 20)
    assert (same.value, same.plug_in, same.p_value) == (0.0, 0.0, 1.0)


def test_effective_number() -> None:
    assert effective_number({"a": 5, "b": 5, "c": 5, "d": 5}) == pytest.approx(4.0)
    assert effective_number({"a": 7}) == pytest.approx(1.0)
    assert effective_number({}) == 0.0
