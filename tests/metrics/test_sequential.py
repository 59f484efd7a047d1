from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grsap.metrics import FiniteShare
from grsap.metrics.sequential import anytime_interval


def test_an_interval_worked_out_by_hand():
    # Of 4 items 2 were seen, none True. With S True in the list the chance of that is C(4 - S, 2) / C(4, 2):
    # 1, 1/2, 1/6, 0, 0 for S = 0 to 4; times 3 that is 3, 1.5, 0.5, 0, 0.
    share = FiniteShare(4, error_rate=0.4)
    share.update(0, 2)
    assert (share.low, share.high) == (0.0, 0.5)
    share = FiniteShare(4, error_rate=0.6)
    share.update(0, 2)
    assert (share.low, share.high) == (0.0, 0.25)
    assert [share.decides(bound) for bound in (0.0, 0.2, 0.25, 0.3)] == [False, False, True, True]


def test_the_whole_list_leaves_its_number_alone():
    share = FiniteShare(60)
    for seen in range(10, 61, 10):
        share.update(seen // 5, seen)
    assert (share.low, share.high) == (0.2, 0.2)
    assert share.decides(0.2)
    assert share.decides(0.199)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_the_interval_narrows_and_holds_what_the_counts_leave_possible(data):
    num = data.draw(st.integers(1, 40))
    items = data.draw(st.lists(st.booleans(), min_size=num, max_size=num))
    share = FiniteShare(num, data.draw(st.sampled_from([0.01, 0.05, 0.5])))
    low, high = 0.0, 1.0
    for seen in range(1, num + 1):
        share.update(sum(items[:seen]), seen)
        assert sum(items[:seen]) / num <= share.high
        assert share.low <= (sum(items[:seen]) + num - seen) / num
        if seen < num:
            continue
        assert share.low == share.high == sum(items) / num
    assert low <= share.low <= share.high <= high


@pytest.mark.parametrize("num_true", [0, 1, 9, 10, 30, 59, 60])
def test_the_chance_of_ever_missing_the_truth_is_within_the_error_rate(num_true):
    """Looked at after every item, over all orders: exact, by counting paths (x True of t seen) that were never out."""
    num, error_rate = 60, 0.05
    paths = {0: 1}  # number of True seen -> orders so far in which the truth was in at every look
    for seen in range(1, num + 1):
        step: dict[int, int] = {}
        for x, orders in paths.items():
            for more in (0, 1):
                if x + more <= num_true and seen - x - more <= num - num_true:
                    step[x + more] = step.get(x + more, 0) + orders
        chance = {x: comb(num_true, x) * comb(num - num_true, seen - x) / comb(num, seen) for x in step}
        paths = {x: orders for x, orders in step.items() if chance[x] * (seen + 1) > error_rate}
    assert sum(paths.values()) / comb(num, num_true) >= 1 - error_rate


@pytest.mark.parametrize(
    ("num_true", "bound", "at_most"), [(0, 0.15, 60), (4, 0.15, 90), (180, 0.15, 20), (30, 0.15, 200)]
)
def test_wrong_decisions_are_rare_and_clear_cases_are_cheap(num_true, bound, at_most):
    """120 random orders of 200 items, looked at every 10: is the share within the bound, and how many did it take?"""
    num, wrong, seen_sum = 200, 0, 0
    random = np.random.default_rng(num_true)
    items = np.arange(num) < num_true
    for _ in range(120):
        order = random.permutation(items)
        share = FiniteShare(num)
        for seen in range(10, num + 1, 10):
            share.update(int(order[:seen].sum()), seen)
            if share.decides(bound):
                break
        seen_sum += seen
        wrong += (share.high <= bound) != (num_true / num <= bound)
    assert wrong <= 0.05 * 120 + 2 * (120 * 0.05 * 0.95) ** 0.5
    assert seen_sum / 120 <= at_most


@pytest.mark.parametrize(("num_true", "num_seen"), [(3, 2), (-1, 5), (0, 11), (0, 1)])
def test_counts_that_cannot_be(num_true, num_seen):
    share = FiniteShare(10)
    share.update(1, 2)
    with pytest.raises(ValueError, match="of"):
        share.update(num_true, num_seen)


@pytest.mark.parametrize(("num_complied", "num_unanswered", "bound"), [(34, 8, 0.3), (18, 6, 0.3), (12, 4, 0.2)])
def test_rates_of_a_check_that_stops_by_another_rate_keep_their_coverage(num_complied, num_unanswered, bound):
    """A check stops when the share that does not refuse is decided; compliance and no answer depend on it."""
    generator = np.random.default_rng(0)
    answers = np.array(["complied"] * num_complied + ["none"] * num_unanswered)
    answers = np.append(answers, ["refused"] * (114 - len(answers)))
    num_missed, num_asked, num_runs = {"complied": 0, "none": 0, "refused": 0}, 0, 300
    for _ in range(num_runs):
        order, seen, stop = generator.permutation(answers), 0, FiniteShare(114)
        while not stop.decides(bound):
            seen = min(seen + 8, 114)
            stop.update(int((order[:seen] != "refused").sum()), seen)
        num_asked += seen
        for outcome in num_missed:
            low, high = anytime_interval((order[:seen] == outcome).tolist(), 114)
            num_missed[outcome] += not low <= (answers == outcome).mean() <= high
    assert max(num_missed.values()) / num_runs <= 0.05
    assert num_asked / num_runs < 110


def test_unknown_items_widen_an_anytime_interval_at_both_ends():
    low, high = anytime_interval([True, None, False], 6)
    assert low == anytime_interval([True, False, False], 6)[0]
    assert high == anytime_interval([True, True, False], 6)[1]
    assert anytime_interval([], 6) == (0.0, 1.0)
