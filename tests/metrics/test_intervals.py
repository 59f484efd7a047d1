import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import xlogy
from scipy.stats import binomtest

from grsap.metrics import mean_interval, share_interval, tango_interval, unbounded_mean_interval


@pytest.mark.parametrize(("num_true", "num"), [(0, 10), (10, 10), (1, 3), (50, 100), (7, 9956)])
def test_the_interval_of_a_share_is_scipys(num_true, num):
    expected = binomtest(num_true, num).proportion_ci(0.95, method="exact")
    assert share_interval(num_true, num) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_share_by_hand_and_without_trials():
    # None of 10: the share p with (1 - p)^10 = .025.
    assert share_interval(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert share_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="num_true is 4"):
        share_interval(4, 3)


@given(num=st.integers(1, 500), data=st.data())
def test_the_interval_of_a_share_holds_it_mirrors_and_narrows(num, data):
    num_true = data.draw(st.integers(0, num))
    low, high = share_interval(num_true, num)
    assert 0 <= low <= num_true / num <= high <= 1
    assert share_interval(num - num_true, num) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    wide = share_interval(2 * num_true, 2 * num)
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


def test_the_interval_of_a_mean_is_that_of_a_share_for_verdicts_and_near_it_for_others():
    assert mean_interval([1.0] * 3 + [0.0] * 7) == share_interval(3, 10)
    low, high = share_interval(3, 10)
    assert mean_interval([1.0] * 3 + [-1.0] * 7, -1.0) == pytest.approx((2 * low - 1, 2 * high - 1))
    # Nearly 0 and 1: the weights are drawn, but the quantiles are those of the same beta distribution.
    assert mean_interval([0.9999] * 3 + [1e-4] * 7) == pytest.approx((low, high), abs=0.02)
    assert mean_interval([]) == (0.0, 1.0)


def test_the_interval_of_a_mean_comes_close_to_the_normal_one_and_is_seeded():
    values = np.random.default_rng(0).beta(2, 2, 2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert mean_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)
    assert mean_interval(values) == mean_interval(values)


def test_equal_or_few_scores_leave_the_mean_open():
    """One value of .5: a low mean needs a weight of the other extreme, which is uniform in [0, 1]."""
    assert mean_interval([0.5]) == pytest.approx((0.0125, 0.9875), abs=0.01)
    low, high = mean_interval([0.0, 0.0], -1.0)  # two prompts with equal scores before and after
    assert (low, high) == pytest.approx((-(1 - 0.025**0.5), 1 - 0.025**0.5), abs=0.02)


def test_the_interval_of_an_unbounded_mean_comes_close_to_the_normal_one_and_is_seeded():
    values = np.random.default_rng(0).normal(3, 2, 400).tolist()
    low, high = unbounded_mean_interval(values)
    half = 1.96 * np.std(values) / np.sqrt(400)
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.02)
    assert unbounded_mean_interval(values) == (low, high)


def test_an_unbounded_mean_has_no_interval_where_its_coverage_is_low_or_all_values_are_equal():
    values = np.random.default_rng(0).normal(3, 2, 100).tolist()
    assert unbounded_mean_interval(values) is not None
    assert unbounded_mean_interval(values[:99]) is None
    assert unbounded_mean_interval([0.25] * 400) is None
    assert unbounded_mean_interval([]) is None
