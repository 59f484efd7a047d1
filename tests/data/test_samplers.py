from __future__ import annotations

from collections import Counter

import pytest

from grsap.data.plan import Schedule, plan
from grsap.data.samplers import ProportionalSampler, RatioSampler, StratifiedReplaySampler
from grsap.data.strata import Shortfall
from grsap.errors import ConfigError, DataError
from grsap.records import SafetyRecord


def epoch_counts(schedule: Schedule) -> Counter[str]:
    return Counter(row.source for step in range(schedule.steps_per_epoch) for row in plan(0, step, schedule))


def record(
    number: int, difficulty: str | None, behaviour: str | None = "refusal", domain: str = "theft"
) -> SafetyRecord:
    return SafetyRecord(id=f"r{number}", messages=[], domain=domain, behaviour=behaviour, difficulty=difficulty)


def test_total_keeps_the_number_of_rows():
    schedule = RatioSampler(0.1).schedule(num_task=600, num_replay=300, global_batch_size=32)
    assert (schedule.num_rows, schedule.steps_per_epoch) == (600, 19)
    assert epoch_counts(schedule) == {"task": 540, "replay": 60}


def test_total_with_the_papers_number_of_rows():
    schedule = RatioSampler(0.1, num_rows=7168).schedule(7473, 1000, 32)
    assert (schedule.steps_per_epoch, schedule.replay_before(224)) == (224, 716)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("num_task", [7, 30, 601])
def test_downstream_keeps_every_task_row_once_and_adds_replay(ratio: float, num_task: int):
    schedule = RatioSampler(ratio, "downstream").schedule(num_task, 50, 8)
    added = {(0.1, 7): 1, (0.3, 7): 2, (0.1, 30): 3, (0.3, 30): 9, (0.1, 601): 60, (0.3, 601): 180}
    num_replay = 0 if ratio == 0 else num_task if ratio == 1 else added[ratio, num_task]
    assert epoch_counts(schedule) == Counter(task=num_task, replay=num_replay)
    rows = [row for step in range(schedule.steps_per_epoch) for row in plan(5, step, schedule)]
    assert sorted(row.index for row in rows if row.source == "task") == list(range(num_task))


def test_proportional_brings_all_rows_once():
    schedule = ProportionalSampler().schedule(101, 37, 8)
    rows = [row for step in range(schedule.steps_per_epoch) for row in plan(0, step, schedule)]
    assert sorted(row.index for row in rows if row.source == "task") == list(range(101))
    assert sorted(row.index for row in rows if row.source == "replay") == list(range(37))


@pytest.mark.parametrize("ratio", [1.5, -0.01])
def test_ratio_out_of_range_fails_when_it_is_set(ratio: float):
    with pytest.raises(ConfigError, match=f"replay_ratio is {ratio}. Give the share of replay rows, in \\[0, 1\\]"):
        RatioSampler(ratio)


def test_num_rows_must_be_positive():
    with pytest.raises(ConfigError, match=r"num_rows is 0"):
        RatioSampler(0.1, num_rows=0)


@pytest.mark.parametrize("control", ["total", "downstream"])
def test_a_ratio_needs_replay_rows(control: str):
    with pytest.raises(ConfigError, match=r"but there are no replay rows. Set data.replay"):
        RatioSampler(0.5, control).schedule(10, 0, 4)
    assert epoch_counts(RatioSampler(0.0, control).schedule(10, 0, 4)) == {"task": 10}


def test_hard_and_easy_alternate_while_both_last():
    records = [record(n, "easy" if n < 12 else "hard") for n in range(16)]
    order = StratifiedReplaySampler(0.5).replay_order(0, seed=3, records=records)
    assert sorted(order) == list(range(16))
    labels = [records[index].difficulty for index in order]
    assert [Counter(labels[: 2 * n]) for n in range(1, 5)] == [{"easy": n, "hard": n} for n in range(1, 5)]
    assert labels[8:] == ["easy"] * 8
    assert order != StratifiedReplaySampler(0.5).replay_order(1, seed=3, records=records)


def test_every_beginning_keeps_the_quotas_of_all_levels():
    records = [
        record(n, difficulty, behaviour, domain)
        for n, (difficulty, behaviour, domain) in enumerate(
            (d, b, c)
            for d in ("hard", "easy")
            for b in ("refusal", "safe_explanation")
            for c in ("theft", "drugs", "weapons", "privacy")
            for _ in range(4)
        )
    ]
    sampler = StratifiedReplaySampler(hard_share=0.75, behaviour_shares={"refusal": 0.25, "safe_explanation": 0.75})
    order = sampler.replay_order(0, seed=0, records=records)
    first = Counter((records[i].difficulty, records[i].behaviour) for i in order[:16])
    assert first == {
        ("hard", "refusal"): 3,
        ("hard", "safe_explanation"): 9,
        ("easy", "refusal"): 1,
        ("easy", "safe_explanation"): 3,
    }
    domains = [
        records[i].domain for i in order[:21] if records[i].difficulty == "hard" and records[i].behaviour != "refusal"
    ]
    assert [len(set(domains[n : n + 4])) for n in (0, 4)] == [4, 4]


def test_rows_without_difficulty_come_when_a_labelled_stratum_is_used_up():
    records = [record(n, label) for n, label in enumerate(["hard"] * 3 + ["easy"] * 3 + [None] * 3)]
    order = StratifiedReplaySampler().replay_order(0, seed=0, records=records)
    assert {records[i].difficulty for i in order[:6]} == {"hard", "easy"}
    assert [records[i].difficulty for i in order[6:]] == [None] * 3


def test_shortfalls_say_what_was_wanted_and_taken():
    records = [record(n, "hard" if n < 2 else "easy") for n in range(20)]
    sampler = StratifiedReplaySampler(0.5)
    assert sampler.shortfalls(sampler.schedule(20, 20, 4), 0, records) == [
        Shortfall("hard", 5, 2),
        Shortfall("hard/refusal", 5, 2),
        Shortfall("hard/refusal/theft", 5, 2),
    ]
    enough = StratifiedReplaySampler(0.2)
    assert enough.shortfalls(enough.schedule(20, 20, 4), 0, records) == []


def test_a_difficulty_that_no_row_has_is_a_shortfall():
    records = [record(n, "easy") for n in range(20)]
    sampler = StratifiedReplaySampler(0.5)
    found = sampler.shortfalls(sampler.schedule(20, 20, 4), 0, records)
    assert found == [Shortfall("hard", 5, 0)]


def test_shortfall_as_an_error():
    records = [record(n, "easy") for n in range(20)]
    sampler = StratifiedReplaySampler(0.5, on_shortfall="error")
    with pytest.raises(DataError, match=r"hard has 0 of 5 rows \(1 quotas in all\)"):
        sampler.shortfalls(sampler.schedule(20, 20, 4), 0, records)


def test_shares_must_sum_to_one():
    with pytest.raises(ConfigError, match=r"behaviour_shares sum to 0.8"):
        StratifiedReplaySampler(behaviour_shares={"refusal": 0.5, "benign_answer": 0.3})
    with pytest.raises(ConfigError, match=r"hard_share is 2"):
        StratifiedReplaySampler(hard_share=2)
