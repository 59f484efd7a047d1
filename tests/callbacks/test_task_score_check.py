import copy
import json
import stat

import pytest
import torch
from tests.callbacks.check_run import (
    NUM_STEPS,
    CheckedData,
    CheckedModule,
    KeptLog,
    SaveAt,
    Sums,
    fit,
    make_trainer,
    write_probes,
)

from grsap.callbacks import HarmfulnessCheck, TaskScoreCheck
from grsap.data.conversation import ConversationDataModule
from grsap.errors import ConfigError, UserError
from grsap.metrics import rate_estimate, share_interval


@pytest.fixture
def module(tiny_llama, tiny_tokenizer):
    # Right answers: one, two, two, ten. At the start everything is "two"; later the first three are right.
    later = {"test-0": "one", "test-1": "two", "test-2": "two", "test-3": "I can't help with that ..."}
    return CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: later[id_] if step else "two")


def test_scores_baseline_and_intervals(tmp_path, module):
    log = KeptLog()
    check = TaskScoreCheck(every_n_steps=4)
    fit(make_trainer(tmp_path, [check], log), module, CheckedData())
    assert list(check.results) == [0, 4, NUM_STEPS]
    assert check.results[0].outcomes == {"test-0": 0.0, "test-1": 1.0, "test-2": 1.0, "test-3": 0.0}
    assert check.results[4].outcomes == {"test-0": 1.0, "test-1": 1.0, "test-2": 1.0, "test-3": 0.0}
    assert check.results[4].task_score == rate_estimate([True, True, True, False], "Sums")
    assert [result.majority_baseline for result in check.results.values()] == [0.5, 0.5, 0.5]
    assert [result.truncated_share for result in check.results.values()] == [0.0, 0.25, 0.25]
    low, high = share_interval(3, 4)
    assert log.rows[1] == (
        4,
        {
            "check/task_score/test": 0.75,
            "check/task_score_low/test": low,
            "check/task_score_high/test": high,
            "check/majority_baseline/test": 0.5,
            "check/task_truncated_share/test": 0.25,
        },
    )


def test_transcripts_stand_beside_those_of_the_harmfulness_check(tmp_path, tiny_llama, tiny_tokenizer):
    module = CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: "two")
    probes = str(write_probes(tmp_path / "probes.jsonl"))
    callbacks = [HarmfulnessCheck(probes, at_end=False), TaskScoreCheck(at_end=False)]
    fit(make_trainer(tmp_path, callbacks), module, CheckedData())
    names = sorted(file.name for file in (tmp_path / "transcripts").iterdir())
    assert names == ["step=000000.jsonl", "task-step=000000.jsonl"]
    file = tmp_path / "transcripts" / "task-step=000000.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0] == {"id": "test-0", "response": "two", "finish_reason": "stop", "score": 0.0}
    assert [row["id"] for row in rows] == ["test-0", "test-1", "test-2", "test-3"]


class Many(Sums):
    """300 rows without ids, marked with halves."""

    def rows(self, split):
        for number in range(300 if split == "test" else 3):
            question = {"role": "user", "content": f"sum {number}"}
            yield {"number": number, "messages": [question, {"role": "assistant", "content": "x"}]}

    def score(self, response, row):
        return (row["number"] % 3) / 2


def test_a_fixed_sample_of_a_large_split_with_a_bootstrap_interval(tmp_path, tiny_llama, tiny_tokenizer):
    results = []
    for num_rows in (60, 60, 1000):
        module = CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: "two")
        check = TaskScoreCheck(at_end=False, num_rows=num_rows)
        fit(make_trainer(tmp_path, [check]), module, CheckedData(Many()))
        results.append(check.results[0])
    assert results[0] == results[1]
    assert [len(result.outcomes) for result in results] == [60, 60, 300]
    assert set(results[0].outcomes) < set(results[2].outcomes)
    whole = results[2].task_score
    assert whole.value == pytest.approx(0.5)
    half = 1.96 * (1 / 6) ** 0.5 / 300**0.5  # scores 0, 1/2, 1 in equal parts: variance 1/6
    assert (whole.low, whole.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.008)


def test_restored_weights_get_the_score_that_is_known_of_them(tmp_path, tiny_llama, tiny_tokenizer):
    """At step 4 the harmfulness check puts back the weights of step 2, whose score is known."""
    probes = str(write_probes(tmp_path / "probes.jsonl"))

    def script(id_, step):
        if id_.startswith("test"):
            return {0: "two", 2: "one", 4: "ten"}[step]
        return "Like this." if step >= 4 else "I can't help with that."

    for order in (1, -1):
        module = CheckedModule(tiny_llama, tiny_tokenizer, script)
        task = TaskScoreCheck(every_n_steps=2)
        harm = HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5, action="restore_best")
        with pytest.warns(UserWarning, match="put back"):
            fit(make_trainer(tmp_path, [task, harm][::order]), module, CheckedData())
        assert list(task.results) == [0, 2, 4]
        assert task.results[4].outcomes == task.results[2].outcomes == {
            "test-0": 1.0, "test-1": 0.0, "test-2": 0.0, "test-3": 0.0,
        }  # fmt: skip


def test_weights_restored_by_the_last_check_are_scored(tmp_path, tiny_llama, tiny_tokenizer):
    """The final harmfulness check puts back the weights of step 4, which nothing has scored yet."""
    probes = str(write_probes(tmp_path / "probes.jsonl"))

    def script(id_, step):
        if id_.startswith("test"):
            return "one"
        return "Like this." if step >= 6 else "I can't help with that."

    for order in (1, -1):
        module = CheckedModule(copy.deepcopy(tiny_llama), tiny_tokenizer, script)
        task = TaskScoreCheck()
        harm = HarmfulnessCheck(probes, every_n_steps=4, max_harmfulness_rate=0.5, action="restore_best")
        with pytest.warns(UserWarning, match="weights of step 4 put back"):
            fit(make_trainer(tmp_path, [task, harm][::order]), module, CheckedData())
        assert list(task.results) == [0, 6]
        assert [row for call in module.generators[-1].calls for row in call] == ["test-0", "test-1", "test-2", "test-3"]


def test_a_resumed_run_repeats_no_check(tmp_path, module):
    check = TaskScoreCheck(every_n_steps=2)
    saved = SaveAt(2, tmp_path / "two.ckpt")
    fit(make_trainer(tmp_path, [check, saved]), module, CheckedData())
    module.generators.clear()
    again = TaskScoreCheck(every_n_steps=2)
    fit(make_trainer(tmp_path, [again]), module, CheckedData(), saved.path)
    assert [generator.step for generator in module.generators] == [4, 6]
    assert again.results == check.results
    assert list(again.results) == [0, 2, 4, 6]


class Unmarked(ConversationDataModule):
    """Cannot mark answers."""

    def rows(self, split):
        return Sums().rows(split)


class Empty(Sums):
    """Has training rows only."""

    def rows(self, split):
        return Sums().rows(split) if split == "train" else []


class Generous(Sums):
    """Gives marks over 1."""

    def score(self, response, row):
        return 2.0


def test_a_task_without_marks_is_refused(tmp_path, module):
    with pytest.raises(ConfigError, match=r"TaskScoreCheck: Unmarked cannot score answers\. Set exact_match"):
        fit(make_trainer(tmp_path, [TaskScoreCheck()]), module, CheckedData(Unmarked()))
    assert module.generators == []


@pytest.mark.parametrize(
    ("task", "max_length", "message"),
    [
        (Empty(), 256, r"Empty.rows\('test'\) gives no row to score"),
        (Generous(), 256, r"Generous.score \(.*line \d+\) returns 2.0"),
        (Sums(), 4, r"all 4 prompts of Sums.rows\('test'\) are longer than the limit of 4 tokens"),
    ],
)
def test_a_wrong_task_fails_before_weights_are_loaded(tmp_path, module, task, max_length, message):
    with pytest.raises(UserError, match=message):
        fit(make_trainer(tmp_path, [TaskScoreCheck()]), module, CheckedData(task, max_length))
    assert module.configured == []


def test_long_prompts_are_left_out_and_counted(tmp_path, module):
    class OneLong(Sums):
        def rows(self, split):
            for row in super().rows(split):
                if row["id"] == "test-3":
                    row["messages"][0]["content"] += " and more" * 200
                yield row

    check = TaskScoreCheck(at_end=False)
    with pytest.warns(UserWarning, match=r"1 of 4 prompts of OneLong.rows\('test'\) are longer than 256 tokens"):
        fit(make_trainer(tmp_path, [check]), module, CheckedData(OneLong()))
    assert list(check.results[0].outcomes) == ["test-0", "test-1", "test-2"]


def test_settings_out_of_range():
    with pytest.raises(ConfigError, match="num_rows is 0"):
        TaskScoreCheck(num_rows=0)


def test_data_without_a_task(tmp_path, module):
    data = CheckedData()
    data.task = None
    with pytest.raises(ConfigError, match="finds no task"):
        fit(make_trainer(tmp_path, [TaskScoreCheck()]), module, data)


def test_real_answers_are_scored(tmp_path, tiny_llama, tiny_tokenizer):
    """The random model is right nowhere: its answers run to the limit."""
    torch.manual_seed(0)
    module = CheckedModule(tiny_llama, tiny_tokenizer)
    check = TaskScoreCheck(at_end=False)
    fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert check.results[0].task_score == rate_estimate([False] * 4, "Sums")
    rows = [json.loads(line) for line in (tmp_path / "transcripts" / "task-step=000000.jsonl").read_text().splitlines()]
    assert all(len(row["response"]) > 20 for row in rows)
