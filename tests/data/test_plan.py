from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grsap.data.plan import PlannedRow, RatioChange, Schedule, permutation, plan
from grsap.errors import ConfigError


def in_file_order(num: dict[str, int]):
    return lambda source, pass_index: range(num[source])


def counts(schedule: Schedule, steps: range) -> list[tuple[int, int]]:
    """(task rows, replay rows) of each step."""
    found = []
    for step in steps:
        by_source = Counter(row.source for row in plan(0, step, schedule))
        found.append((by_source["task"], by_source["replay"]))
    return found


def test_rows_of_two_epochs_worked_out_by_hand():
    # N = 10 in batches of 4, 4, 2; replay rows up to step s: floor(.3 x 0, 4, 8, 10, 14, 18, 20) = 0, 1, 2, 3, 4, 5, 6.
    schedule = Schedule(num_task=9, num_replay=4, num_rows=10, global_batch_size=4).with_change(0, 0.3)
    steps = [plan(0, step, schedule, in_file_order({"task": 9, "replay": 4})) for step in range(6)]

    def rows(task: list[tuple[int, int]], replay: list[tuple[int, int]]) -> list[PlannedRow]:
        return [PlannedRow("task", *place) for place in task] + [PlannedRow("replay", *place) for place in replay]

    assert steps == [
        rows([(0, 0), (1, 0), (2, 0)], [(0, 0)]),
        rows([(3, 0), (4, 0), (5, 0)], [(1, 0)]),
        rows([(6, 0)], [(2, 0)]),
        rows([(7, 0), (8, 0), (0, 1)], [(3, 0)]),
        rows([(1, 1), (2, 1), (3, 1)], [(0, 1)]),
        rows([(4, 1)], [(1, 1)]),
    ]


def test_full_batches_follow_the_published_formula():
    schedule = Schedule(700, 300, 1000, 8).with_change(0, 0.27)
    r = Fraction(27, 100)
    expected = [int(r * 8 * (step + 1)) - int(r * 8 * step) for step in range(125)]
    assert [replay for _, replay in counts(schedule, range(125))] == expected
    assert sum(expected) == 270


def test_ratios_are_exact_not_binary():
    # floor(0.29 x 100) is 28 in floats.
    assert int(0.29 * 100) == 28
    assert Schedule(100, 100, 100, 100).with_change(0, 0.29).replay_before(1) == 29
    assert Schedule(10, 1, 10, 1).with_change(0, 0.1).replay_before(10) == 1
    assert RatioChange(0, 1 / 3).share == Fraction(1, 3)
    assert RatioChange(0, 7168 / 9_999_991).share == Fraction(7168, 9_999_991)


def test_a_changed_ratio_holds_from_its_step_on():
    schedule = Schedule(100, 100, 20, 4).with_change(0, 0.25)
    changed = schedule.with_change(2, 1.0).with_change(4, 0.5)
    assert counts(changed, range(7)) == [(3, 1), (3, 1), (0, 4), (0, 4), (2, 2), (2, 2), (2, 2)]
    assert [plan(3, step, changed) for step in range(2)] == [plan(3, step, schedule) for step in range(2)]
    # The streams go on where they stood: no row is left out or comes twice within its pass.
    replay = [row.index for step in range(7) for row in plan(3, step, changed) if row.source == "replay"]
    assert replay == list(permutation(3, "replay", 0, 100)[:16])


def test_permutations_never_change():
    # Golden: a change would break every checkpoint and every published seed.
    assert permutation(0, "task", 0, 8) == (2, 4, 0, 6, 3, 7, 1, 5)
    assert permutation(0, "task", 1, 8) == (0, 6, 7, 2, 4, 1, 3, 5)
    assert permutation(0, "replay", 0, 8) == (2, 6, 7, 0, 3, 1, 5, 4)
    assert permutation(1, "task", 0, 8) == (5, 3, 7, 0, 2, 1, 6, 4)


def test_state_round_trip_is_plain_and_exact():
    schedule = Schedule(10, 5, 12, 4).with_change(0, 0.1).with_change(7, 0.3)
    state = schedule.to_state()
    assert state == {
        "num_task": 10,
        "num_replay": 5,
        "num_rows": 12,
        "global_batch_size": 4,
        "changes": [{"from_step": 0, "replay_ratio": 0.1}, {"from_step": 7, "replay_ratio": 0.3}],
    }
    assert Schedule.from_state(state) == schedule


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_ratio_out_of_range(ratio: float):
    with pytest.raises(ConfigError, match=r"replay_ratio is .* Give the share of replay rows"):
        Schedule(10, 10, 10, 4).with_change(0, ratio)


def test_ratio_without_rows():
    with pytest.raises(ConfigError, match=r"replay_ratio is 0.1, but there are no replay rows. Set data.replay"):
        Schedule(10, 0, 10, 4).with_change(0, 0.1)


def test_changes_come_in_order():
    schedule = Schedule(10, 10, 10, 4).with_change(0, 0.1).with_change(5, 0.2)
    with pytest.raises(ConfigError, match="from_step 3 is before the last change, at step 5"):
        schedule.with_change(3, 0.3)
    assert schedule.with_change(5, 0.4).changes == (RatioChange(0, 0.1), RatioChange(5, 0.4))


schedules = st.builds(
    lambda task, replay, rows, batch, percent: Schedule(task, replay, rows, batch).with_change(0, percent / 100),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(1, 16),
    st.integers(0, 100),
)


@given(schedules, st.integers(0, 3))
def test_every_pass_brings_every_row_once(schedule: Schedule, seed: int):
    rows = [row for step in range(4 * schedule.steps_per_epoch) for row in plan(seed, step, schedule)]
    for source, num in (("task", schedule.num_task), ("replay", schedule.num_replay)):
        mine = [row for row in rows if row.source == source]
        assert [row.pass_index for row in mine] == [place // num for place in range(len(mine))]
        for pass_index in range(len(mine) // num):
            assert sorted(row.index for row in mine if row.pass_index == pass_index) == list(range(num))


@given(schedules, st.integers(1, 5))
def test_share_and_batch_sizes_are_exact_over_epochs(schedule: Schedule, epochs: int):
    steps = range(epochs * schedule.steps_per_epoch)
    found = counts(schedule, steps)
    short = schedule.num_rows % schedule.global_batch_size or schedule.global_batch_size
    sizes = [schedule.global_batch_size] * (schedule.steps_per_epoch - 1) + [short]
    assert [task + replay for task, replay in found] == sizes * epochs
    percent = round(schedule.changes[0].replay_ratio * 100)
    assert sum(replay for _, replay in found) == percent * epochs * schedule.num_rows // 100


@given(schedules, st.integers(0, 30), st.integers(0, 100), st.integers(0, 3))
def test_steps_before_a_change_keep_their_rows(schedule: Schedule, step: int, percent: int, seed: int):
    changed = schedule.with_change(step, percent / 100)
    for before in range(step):
        assert plan(seed, before, changed) == plan(seed, before, schedule)


def test_source_seed_and_pass_change_the_order():
    orders = [permutation(s, source, p, 30) for s in (0, 1) for source in ("task", "replay") for p in (0, 1)]
    assert len(set(orders)) == 8
