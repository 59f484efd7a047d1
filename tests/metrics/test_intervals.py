import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import xlogy
from scipy.stats import binomtest

from grsap.metrics import bootstrap_interval, tango_interval, wilson_interval


@pytest.mark.parametrize(("num_true", "num"), [(0, 10), (10, 10), (1, 3), (50, 100), (7, 9956)])
def test_wilson_is_scipys(num_true, num):
    expected = binomtest(num_true, num).proportion_ci(0.95, method="wilson")
    assert wilson_interval(num_true, num) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand_and_without_trials():
    # 50 of 100: centre 1/2, half width z / (1 + z^2/n) sqrt(1/(4n) + z^2/(4n^2)), z = 1.96.
    assert wilson_interval(50, 100) == pytest.approx((0.403832, 0.596168), abs=1e-6)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="num_true is 4"):
        wilson_interval(4, 3)


@given(num=st.integers(1, 500), data=st.data())
def test_wilson_holds_the_share_mirrors_and_narrows(num, data):
    num_true = data.draw(st.integers(0, num))
    low, high = wilson_interval(num_true, num)
    assert 0 <= low <= num_true / num <= high <= 1
    assert wilson_interval(num - num_true, num) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    wide = wilson_interval(2 * num_true, 2 * num)
    assert wide[1] - wide[0] < high - low


def test_tango_gives_the_published_interval():
    # Fagerland, Lydersen, Laake 2014, airway hyper-responsiveness: 1 rise and 7 falls of 21 -> -0.517 to -0.026.
    assert tango_interval(1, 7, 21, quantile=1.96) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_without_change_and_without_subjects():
    # No change: z^2 = n d / (1 - d) at the end.
    _, high = tango_interval(0, 0, 30)
    assert 30 * high / (1 - high) == pytest.approx(2.1**2)
    assert tango_interval(0, 0, 0) == (-1.0, 1.0)
    assert tango_interval(5, 0, 5)[1] == 1.0


@given(*[st.integers(0, 60)] * 3)
def test_tango_holds_the_difference_mirrors_and_agrees_with_the_score(rose, fell, unchanged):
    num = rose + fell + unchanged
    low, high = tango_interval(rose, fell, num)
    assert tango_interval(fell, rose, num) == pytest.approx((-high, -low), abs=1e-12)
    if not num:
        return
    assert -1 <= low <= (rose - fell) / num <= high <= 1
    if high < 1:
        # The statistic with the share that fell by a search for the greatest likelihood.
        shares = np.linspace(max(0.0, -high), (1 - high) / 2, 20_001)
        chances = np.clip((shares + high, shares, 1 - 2 * shares - high), 0, 1)
        share = shares[xlogy(np.array([[rose], [fell], [unchanged]]), chances).sum(axis=0).argmax()]
        deviation = np.sqrt(num * (2 * share + high * (1 - high)))
        assert rose - fell - num * high == pytest.approx(-2.1 * deviation, abs=0.02)


def test_bootstrap_comes_close_to_the_normal_interval_and_is_seeded():
    values = np.random.default_rng(1).uniform(size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.004)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([0.25] * 5) == (0.25, 0.25)
    with pytest.raises(ValueError, match="no value"):
        bootstrap_interval([])
