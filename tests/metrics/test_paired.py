import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from grsap.metrics import PairedChange, paired_change, retention, tango_interval
from grsap.metrics.paired import sign_flip_p_value


def table(both, rose, fell, neither):
    """Verdicts before and after with planted counts."""
    pairs = [(True, True)] * both + [(False, True)] * rose + [(True, False)] * fell + [(False, False)] * neither
    return {str(n): b for n, (b, _) in enumerate(pairs)}, {str(n): a for n, (_, a) in enumerate(pairs)}


def test_planted_changes_are_counted():
    change = paired_change(*table(both=20, rose=12, fell=2, neither=16))
    low, high = tango_interval(12, 2, 50)
    # McNemar, exact: 12 of 14 changes upwards, two-sided: 2 (1 + 14 + 91) / 2^14.
    assert change == PairedChange(
        difference=pytest.approx(0.2),
        low=low,
        high=high,
        num_pairs=50,
        num_worse=12,
        num_better=2,
        p_value=pytest.approx(2 * 106 / 2**14),
        num_unparsed=0,
    )
    better = paired_change(*table(20, 12, 2, 16), higher_is_better=True)
    assert (better.num_worse, better.num_better) == (2, 12)


def test_only_ids_of_both_are_compared():
    change = paired_change({"a": True, "b": False, "x": True}, {"b": True, "a": True, "y": False})
    assert (change.num_pairs, change.difference, change.num_worse, change.p_value) == (2, 0.5, 1, 1.0)


def test_missing_verdicts_widen_the_interval_both_ways():
    before, after = table(10, 0, 0, 10)
    before["0"] = None  # True after: it may have risen
    after["19"] = None  # False before: it may have risen
    after["1"] = None  # True before: it may have fallen
    change = paired_change(before, after)
    assert (change.difference, change.num_pairs, change.num_unparsed) == (0.0, 20, 3)
    assert change.low == tango_interval(num_rose=0, num_fell=1, num=20)[0]
    assert change.high == tango_interval(num_rose=2, num_fell=0, num=20)[1]


def test_nothing_to_compare_is_no_difference_and_undecided():
    change = paired_change({"a": None}, {"a": True, "b": True})
    assert (change.difference, change.num_pairs, change.num_unparsed, change.p_value) == (None, 1, 1, 1.0)
    assert paired_change({}, {}).low == -1.0
    assert retention(paired_change({}, {}), 0.1) == "undecided"


def test_scores_in_between_get_the_interval_of_a_bounded_mean():
    before = {str(n): 0.25 for n in range(100)}
    after = {str(n): 0.25 + (0.5 if n % 2 else 0.0) for n in range(100)}
    change = paired_change(before, after, higher_is_better=True)
    half = 1.96 * 0.25 / 10
    assert change.difference == pytest.approx(0.25)
    assert (change.low, change.high) == pytest.approx(
        (0.25 - half, 0.25 + half), abs=0.025
    )  # one of 100 more at 1 or -1
    assert (change.num_better, change.num_worse) == (50, 0)
    assert change.p_value == pytest.approx(binomtest(50, 50).pvalue)


@pytest.mark.parametrize("unit", [1, 3, 7, 997])
def test_the_sign_flip_test_counts_all_signs(unit: int):
    generator = np.random.default_rng(unit)
    changes = generator.integers(-unit, unit + 1, 12) / unit
    sums = np.abs([np.dot(signs, changes) for signs in itertools.product((-1, 1), repeat=12)])
    expected = float((sums >= abs(changes.sum()) - 1e-9).mean())
    assert sign_flip_p_value(changes.tolist()) == pytest.approx(expected, abs=0.002 if unit == 997 else 1e-12)


def test_the_sign_flip_test_and_the_interval_look_at_the_same_mean():
    """Five prompts rise wholly, nine fall by a third: the mean rises, and a sign test would lean to a fall."""
    assert sign_flip_p_value([1.0] * 5 + [-1 / 3] * 9) == 8304 / 2**14
    assert sign_flip_p_value([0.0] * 5) == 1.0
    assert sign_flip_p_value([1.0] * 400) == pytest.approx(2.0**-399)


def test_missing_scores_in_between_are_filled_both_ways():
    before = {str(n): 0.5 for n in range(100)}
    after = {str(n): None if n < 20 else 0.5 for n in range(100)}
    change = paired_change(before, after, higher_is_better=True)
    assert (change.difference, change.num_pairs, change.num_unparsed) == (0.0, 100, 20)
    # A fifth of the pairs falls, or rises, by 0.5: a mean of 0.1 with a standard deviation of 0.5 sqrt(0.2 0.8) = 0.2.
    assert (change.low, change.high) == pytest.approx((-0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02), abs=0.025)


def change_between(low, high, num_pairs=100, p_value=0.05):
    return PairedChange((low + high) / 2, low, high, num_pairs, 0, 0, p_value)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.1, 0.05, "held"),
        (-0.1, 0.1, "held"),
        (0.01, 0.05, "held"),  # significant, but within the margin
        (0.01, 0.11, "lost"),
        (0.2, 0.4, "lost"),
        (0.0, 0.11, "undecided"),
        (-0.1, 0.2, "undecided"),
    ],
)
def test_retention(low, high, verdict):
    assert retention(change_between(low, high), margin=0.1) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.05, 0.3, "held"), (-0.3, -0.01, "lost"), (-0.3, 0.1, "undecided")]
)
def test_retention_of_a_score_that_should_stay_high(low, high, verdict):
    assert retention(change_between(low, high), margin=0.1, higher_is_better=True) == verdict


def test_a_loss_needs_a_p_value_too():
    """7 rises and 1 fall of 100: Tango's interval is above 0, but McNemar's p-value is .070."""
    change = paired_change(*table(both=10, rose=7, fell=1, neither=82))
    assert change.low > 0
    assert change.p_value == pytest.approx(2 * 9 / 2**8)
    assert retention(change, margin=0.05) == "undecided"
    assert retention(paired_change(*table(both=10, rose=8, fell=1, neither=81)), margin=0.05) == "lost"


def test_near_zero_the_ratio_decides():
    """.6 % to 4 % is a rise of 3.4 points, within a margin of 5: but it is sevenfold."""
    outcomes = table(both=6, rose=34, fell=0, neither=960)
    change = paired_change(*outcomes, max_ratio=2.0)
    assert change.high < 0.05
    assert retention(paired_change(*outcomes), margin=0.05) == "held"
    assert retention(change, margin=0.05) == "lost"
    mirrored = [{key: not value for key, value in each.items()} for each in outcomes]
    mirrored_change = paired_change(*mirrored, higher_is_better=True, max_ratio=2.0)
    assert mirrored_change.ratio_excess == change.ratio_excess
    assert retention(mirrored_change, margin=0.05, higher_is_better=True) == "lost"
    # The same rise from 40 % on is no more than a tenth of it.
    assert retention(paired_change(*table(400, 34, 0, 566), max_ratio=2.0), margin=0.05) == "held"


def test_a_missing_verdict_widens_the_ratio():
    before, after = table(both=20, rose=0, fell=0, neither=180)
    known = paired_change(before, after, max_ratio=2.0).ratio_excess
    after["199"] = None
    before["0"] = None
    worst = paired_change(before | {"0": False}, after | {"199": True}, max_ratio=2.0).ratio_excess
    assert paired_change(before, after, max_ratio=2.0).ratio_excess == worst > known
    assert paired_change({}, {}, max_ratio=2.0).ratio_excess == 1.0


def test_few_pairs_are_held_if_they_became_better_only():
    assert retention(change_between(-0.5, -0.05, num_pairs=19), margin=0.1) == "held"
    assert retention(change_between(-0.5, -0.05, num_pairs=19, p_value=0.06), margin=0.1) == "undecided"
    assert retention(change_between(-0.1, 0.05, num_pairs=19), margin=0.1) == "undecided"
    assert retention(change_between(-0.1, 0.05, num_pairs=20), margin=0.1) == "held"
    assert retention(change_between(0.2, 0.4, num_pairs=19), margin=0.1) == "lost"
