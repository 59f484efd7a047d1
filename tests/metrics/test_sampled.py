import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from grsap.metrics import any_of, paired_change, sampled_change, sampled_rate, share_interval, tango_interval

OUTCOMES = st.lists(st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3), min_size=1, max_size=20)


def by_id(rows):
    return {str(number): row for number, row in enumerate(rows)}


def test_one_sample_a_prompt_is_the_exact_interval_with_bounds():
    rate = sampled_rate(by_id([[True]] * 6 + [[False]] * 12 + [[None]] * 2))
    assert (rate.value, rate.min_value, rate.max_value) == (6 / 18, 6 / 20, 8 / 20)
    assert (rate.low, rate.high) == (share_interval(6, 20)[0], share_interval(8, 20)[1])
    assert (rate.num_prompts, rate.num_samples, rate.num_true, rate.num_unparsed) == (20, 20, 6, 2)


def test_nothing_parsed_leaves_everything_open():
    rate = sampled_rate(by_id([[None]] * 3))
    assert (rate.value, rate.min_value, rate.max_value) == (None, 0.0, 1.0)
    assert (rate.low, rate.high) == (share_interval(0, 3)[0], share_interval(3, 3)[1]) == (0.0, 1.0)
    empty = sampled_rate({})
    assert (empty.value, empty.low, empty.high, empty.min_value, empty.num_samples) == (None, 0.0, 1.0, None, 0)


def test_samples_that_always_agree_count_as_one():
    """5 equal samples of 40 prompts say no more than one sample of each."""
    rate = sampled_rate(by_id([[True] * 5] * 10 + [[False] * 5] * 30))
    assert (rate.low, rate.high) == share_interval(10, 40)
    assert (rate.num_samples, rate.num_true) == (200, 50)
    never = sampled_rate(by_id([[False] * 8] * 30))
    assert (never.low, never.high) == share_interval(0, 30)  # how alike samples are cannot be seen


@given(OUTCOMES)
def test_bounds_hold_whatever_the_missing_verdicts_are(rows):
    rate = sampled_rate(by_id(rows))
    for missing in (True, False):
        filled = sampled_rate(by_id([[missing if value is None else value for value in row] for row in rows]))
        assert rate.min_value <= filled.value <= rate.max_value
        assert rate.low <= filled.value <= rate.high
    assert 0 <= rate.low <= rate.min_value <= rate.max_value <= rate.high <= 1
    if rate.value is not None:
        assert rate.min_value <= rate.value <= rate.max_value
    assert rate.num_true + rate.num_unparsed <= rate.num_samples


def test_scores_in_between_get_an_interval_over_prompts():
    rate = sampled_rate(by_id([[0.5], [1.0], [0.0], [0.25]] * 25))
    assert rate.value == 0.4375
    assert rate.num_true is None
    half = 1.96 * np.std([0.5, 1, 0, 0.25] * 25) / 10
    assert (rate.low, rate.high) == pytest.approx((0.4375 - half, 0.4375 + half), abs=0.01)


def test_any_of_several():
    samples = {"a": [False, True], "b": [False, False], "c": [None, True], "d": [False, None]}
    assert any_of(samples) == {"a": [True], "b": [False], "c": [True], "d": [None]}


def test_paired_tests_agree_with_scipy_on_20_random_tables():
    generator = np.random.default_rng(20)
    for _ in range(20):
        num = int(generator.integers(5, 200))
        before, after = (generator.random(num) < generator.random() for _ in range(2))
        change = sampled_change(by_id(before[:, None].tolist()), by_id(after[:, None].tolist()))
        rose, fell = int((after & ~before).sum()), int((before & ~after).sum())
        # Exact McNemar: the changes are as likely up as down.
        exact = min(1.0, 2 * binom.cdf(min(rose, fell), rose + fell, 0.5)) if rose + fell else 1.0
        assert change.p_value == pytest.approx(exact, abs=1e-12)
        if rose + fell:
            assert change.p_value == pytest.approx(binomtest(rose, rose + fell).pvalue, abs=1e-12)
        assert (change.low, change.high) == tango_interval(rose, fell, num)
        assert (change.num_worse, change.num_better, change.num_pairs) == (rose, fell, num)
        assert change.difference == pytest.approx(after.mean() - before.mean())


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_the_ratio_of_several_samples_that_agree_is_that_of_one(higher_is_better):
    before, after = [True] * 5 + [False] * 95, [True] * 8 + [False] * 91 + [None]
    several = sampled_change(
        by_id([[value] * 3 for value in before]),
        by_id([[value] * 3 for value in after]),
        higher_is_better=higher_is_better,
        max_ratio=2.0,
    )
    one = paired_change(by_id(before), by_id(after), higher_is_better=higher_is_better, max_ratio=2.0)
    assert several.ratio_excess == one.ratio_excess


def test_one_sample_a_prompt_is_the_paired_change():
    before, after = {"a": [True], "b": [False], "x": [True]}, {"b": [True], "a": [None], "y": [False]}
    assert sampled_change(before, after) == paired_change({"a": True, "b": False}, {"a": None, "b": True})


def test_changes_of_several_samples_vary_over_prompts():
    generator = np.random.default_rng(2)
    rates = generator.beta(1, 1, size=300)
    before = generator.random((300, 4)) < rates[:, None]
    after = generator.random((300, 4)) < 0.7 * rates[:, None]
    change = sampled_change(by_id(before.tolist()), by_id(after.tolist()))
    differences = after.mean(axis=1) - before.mean(axis=1)
    half = 1.96 * differences.std() / np.sqrt(300)
    assert change.difference == pytest.approx(differences.mean())
    assert (change.low, change.high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.01)
    assert change.high < 0
    rose, fell = int((differences > 0).sum()), int((differences < 0).sum())
    assert (change.num_worse, change.num_better) == (rose, fell)
    normal = 2 * norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert np.log(change.p_value) == pytest.approx(np.log(normal), rel=0.1)
    assert sampled_change(by_id(before.tolist()), by_id(after.tolist())) == change  # seeded


def test_no_change_of_few_prompts_is_not_sure():
    same = by_id([[True, True]] * 3 + [[False, False]] * 7)
    change = sampled_change(same, same)
    assert (change.difference, change.p_value) == (0.0, 1.0)
    assert (change.low, change.high) == pytest.approx((-(1 - 0.025**0.1), 1 - 0.025**0.1), abs=0.02)
    assert sampled_change({}, {}).high == 1.0


def test_missing_samples_widen_the_interval_both_ways():
    before = by_id([[True, False]] * 20)
    after = by_id([[True, None]] * 20)
    change = sampled_change(before, after)
    assert change.num_unparsed == 20
    assert change.low < 0 < change.high
    assert change.difference == 0.5  # over what was parsed
    assert change.high == pytest.approx(sampled_change(before, by_id([[True, True]] * 20)).high)
