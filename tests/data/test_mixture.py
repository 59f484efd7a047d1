from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.data.conftest import CountingTask, write_replay

from grsap.data import (
    Batching,
    JSONLTask,
    MixtureDataModule,
    RatioSampler,
    ReplayDataModule,
    Sampler,
    Schedule,
    StratifiedReplaySampler,
)
from grsap.data.conversation import ConversationDataModule
from grsap.errors import ConfigError, DataError
from grsap.models import BaseModel
from grsap.plugins import PluginError
from grsap.text.encoding import EncodingSettings


def row_ids(mixture: MixtureDataModule, steps: range) -> list[tuple[str, ...]]:
    return [mixture.step_batch(step, 0, 1).row_ids for step in steps]


def trained_ids(mixture: MixtureDataModule, step: int, world_size: int) -> Counter[tuple[str, int]]:
    """(row, token) pairs that are learned in a step, over all ranks."""
    found: Counter[tuple[str, int]] = Counter()
    for rank in range(world_size):
        for micro in mixture.step_batch(step, rank, world_size).micro_batches:
            found.update((micro.row_ids[r], int(t)) for r, t in zip(micro.target_rows, micro.target_ids, strict=True))
    return found


def test_an_epoch_holds_the_planned_rows(make_mixture):
    mixture = make_mixture()
    # 23 rows in steps of 4: replay up to floor(.25 x 4, 8, 12, 16, 20, 23) = 1, 2, 3, 4, 5, 5.
    assert mixture.steps_per_epoch == 6
    ids = row_ids(mixture, range(6))
    assert [len(step) for step in ids] == [4, 4, 4, 4, 4, 3]
    assert [sum(row.startswith("r") for row in step) for step in ids] == [1, 1, 1, 1, 1, 0]
    assert ids[0] == ("t16", "t2", "t10", "r2")  # golden: the shuffles must never change
    flat = [row for step in ids for row in step]
    assert len(set(flat)) == 23
    assert ids != row_ids(make_mixture(seed=1), range(6))
    assert ids == row_ids(make_mixture(), range(6))


@pytest.mark.parametrize("packing", ["on", "off"])
def test_the_same_tokens_are_learned_on_any_number_of_devices(make_mixture, packing: str):
    mixtures = [make_mixture(packing=packing, max_tokens=tokens) for tokens in (256, 1000)]
    for step in range(7):
        found = [trained_ids(mixture, step, world) for mixture in mixtures for world in (1, 2, 4)]
        assert all(other == found[0] for other in found)
        batch = mixtures[0].step_batch(step, 1, 2)
        assert found[0].total() == sum(batch.num_targets.values())
        assert sum(n for (row, _), n in found[0].items() if row.startswith("r")) == batch.num_targets["replay"]


def test_targets_are_the_answers_and_the_turn_end(make_mixture, tiny_tokenizer):
    batch = make_mixture().step_batch(0, 0, 1)
    answers = {
        "t16": "one " * 3,
        "t2": "one " * 3,
        "t10": "one " * 4,
        "r2": "I am sorry, I cannot help with that. " * 3,
    }
    answers = {row: text + "<|im_end|>" for row, text in answers.items()}
    found: dict[str, list[int]] = {row: [] for row in answers}
    for micro in batch.micro_batches:
        for number, token in zip(micro.target_rows, micro.target_ids, strict=True):
            found[micro.row_ids[number]].append(int(token))
    assert {row: tiny_tokenizer.decode(ids) for row, ids in found.items()} == answers


def test_packing_by_setting(make_mixture):
    shapes = {p: [m.attention_mask is None for m in make_mixture(packing=p).step_batch(0, 0, 1).micro_batches]
              for p in ("auto", "on", "off")}  # fmt: skip
    assert all(shapes["auto"] + shapes["on"])
    assert not any(shapes["off"])


def test_a_base_that_cannot_keep_rows_apart_is_padded_and_never_packed(make_mixture, monkeypatch):
    monkeypatch.setattr(BaseModel, "supports_packing", False)
    batch = make_mixture(packing="auto").step_batch(0, 0, 1)
    assert not any(micro.attention_mask is None for micro in batch.micro_batches)
    with pytest.raises(ConfigError, match="packing is on, but the base model carries a state"):
        make_mixture(packing="on")


def test_batching_checks_its_settings():
    with pytest.raises(ConfigError, match="packing is on, but the base model carries a state"):
        Batching(packing="on").packs(supported=False)
    assert [Batching(packing=p).packs(s) for p in ("auto", "off") for s in (True, False)] == [True, False, False, False]
    with pytest.raises(ConfigError, match="global_batch_size is 0"):
        Batching(global_batch_size=0)


def test_workers_and_none_give_the_same_batches(make_mixture):
    alone, workers = (list(make_mixture(num_workers=n).train_dataloader()) for n in (0, 2))
    assert [b.step for b in workers] == list(range(6))
    assert [b.row_ids for b in workers] == [b.row_ids for b in alone]
    assert all(
        torch.equal(a.input_ids, b.input_ids)
        for left, right in zip(alone, workers, strict=True)
        for a, b in zip(left.micro_batches, right.micro_batches, strict=True)
    )


def test_the_loader_leaves_the_random_state_alone(make_mixture):
    mixture = make_mixture()
    before = torch.get_rng_state()
    list(mixture.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_plain_fine_tuning_needs_no_replay(make_mixture):
    mixture = make_mixture(RatioSampler(0.0), replay=None)
    assert Counter(row[0] for step in row_ids(mixture, range(6)) for row in step) == {"t": 23}
    assert mixture.replay_rows == []
    with pytest.raises(ConfigError, match=r"replay_ratio is 0.25, but there are no replay rows. Set data.replay"):
        make_mixture(replay=None)


def test_validation_and_test_rows_in_file_order(make_mixture):
    mixture = make_mixture(task=CountingTask(num_validation=6, num_test=5))
    batches = list(mixture.val_dataloader())
    assert [batch.row_ids for batch in batches] == [("v0", "v1", "v2", "v3"), ("v4", "v5")]
    assert [batch.num_targets["replay"] for batch in batches] == [0, 0]
    mixture.setup("test")
    for loader in (mixture.test_dataloader(), mixture.predict_dataloader()):
        assert [batch.row_ids for batch in loader] == [("s0", "s1", "s2", "s3"), ("s4",)]


def test_no_validation_rows_no_loader(make_mixture):
    assert make_mixture().val_dataloader() == []
    for stage, split in (("validate", "validation"), ("test", "test"), ("predict", "test")):
        with pytest.raises(DataError, match=rf"CountingTask.rows\('{split}'\) gives no row"):
            make_mixture(setup=False).setup(stage)


def test_children_get_the_hooks(make_mixture):
    task = CountingTask()
    mixture = make_mixture(task=task, setup=False)
    mixture.prepare_data()
    mixture.setup("fit")
    mixture.on_exception(KeyError("x"))
    state = mixture.state_dict()
    mixture.load_state_dict(state)
    mixture.teardown("fit")
    assert state["children"] == {"task": {"hooks": 3}}
    assert task.hooks == [
        "prepare_data",
        "setup fit with trainer: False",
        "on_exception 'x'",
        "load_state_dict {'hooks': 3}",
        "teardown fit",
    ]


def test_state_is_plain_and_tells_the_run(make_mixture):
    mixture = make_mixture()
    state = mixture.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert (state["step"], state["seed"]) == (0, 0)
    assert state["schedule"] == Schedule(23, 10, 23, 4).with_change(0, 0.25).to_state()
    assert state["fingerprint"] == mixture.fingerprint == make_mixture().fingerprint


@pytest.mark.parametrize("part", ["task", "replay", "length", "loss_on"])
def test_another_data_set_is_refused(make_mixture, tmp_path: Path, part: str):
    state = make_mixture().state_dict()
    others = {
        "task": lambda: make_mixture(task=CountingTask(22)),
        "replay": lambda: make_mixture(replay=ReplayDataModule(write_replay(tmp_path / "more.jsonl", 11))),
        "length": lambda: make_mixture(encoding=EncodingSettings(max_length=80)),
        "loss_on": lambda: make_mixture(encoding=EncodingSettings(max_length=256, loss_on="all")),
    }
    with pytest.raises(DataError, match="the data set changed since the checkpoint"):
        others[part]().load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"seed": 1}, "data.seed is 1, but the checkpoint was made with 0"),
        ({"sampler": RatioSampler(0.5)}, "share of replay rows is 0.5, but the checkpoint was made with 0.25"),
        ({"sampler": RatioSampler(0.25, num_rows=20)}, "rows of an epoch is 20, but the checkpoint was made with 23"),
    ],
)
def test_other_settings_of_the_order_are_refused(make_mixture, settings: dict, problem: str):
    state = make_mixture().state_dict()
    with pytest.raises(ConfigError, match=problem):
        make_mixture(**settings).load_state_dict(state)


def test_validation_from_a_checkpoint_needs_no_training_rows(make_mixture):
    state = make_mixture().state_dict()
    mixture = make_mixture(task=CountingTask(num_train=0, num_validation=3), setup=False)
    mixture.setup("validate")
    mixture.load_state_dict(state)
    assert mixture.state_dict() == {}
    assert [batch.row_ids for batch in mixture.val_dataloader()] == [("v0", "v1", "v2")]


def test_resume_starts_where_the_state_stands(make_mixture):
    state = {**make_mixture().state_dict(), "step": 8}
    mixture = make_mixture()
    mixture.load_state_dict(state)
    loader = mixture.train_dataloader()
    assert [batch.step for batch in loader] == [8, 9, 10, 11]
    assert len(loader) == 6


def test_a_changed_ratio_is_kept_in_the_state(make_mixture):
    mixture = make_mixture()
    before = row_ids(mixture, range(12))
    assert mixture.change_replay_ratio(0.5, from_step=3) == 3
    after = row_ids(mixture, range(12))
    assert after[:3] == before[:3]
    # From step 3 on, at 12, 16, 20, 23, 27, ... 46 rows: floor of half of it is 6, 8, 10, 11, 13, 15, 17, 19, 21, 23.
    assert [sum(row.startswith("r") for row in step) for step in after] == [1, 1, 1, 2, 2, 1, 2, 2, 2, 2, 2, 2]
    resumed = make_mixture()
    resumed.load_state_dict(mixture.state_dict())
    assert row_ids(resumed, range(12)) == after


@pytest.mark.parametrize(("num_workers", "first_free"), [(0, 1), (2, 5)])
def test_the_ratio_cannot_change_in_steps_that_may_be_loaded(make_mixture, num_workers: int, first_free: int):
    mixture = make_mixture(num_workers=num_workers)
    with pytest.raises(ConfigError, match=f"Give from_step {first_free} or later"):
        mixture.change_replay_ratio(0.5, from_step=first_free - 1)
    assert mixture.change_replay_ratio(0.5) == first_free
    with pytest.raises(ConfigError, match=r"replay_ratio is 1.5"):
        mixture.change_replay_ratio(1.5)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_ratio_changed_while_loading_reaches_the_workers(make_mixture, num_workers: int):
    mixture = make_mixture(num_workers=num_workers)
    shares = []
    for batch in mixture.train_dataloader():
        if batch.step == 0:
            mixture.change_replay_ratio(1.0, from_step=5)
        shares.append(sum(row.source == "replay" for row in batch.rows))
    assert shares == [1, 1, 1, 1, 1, 3]


def test_rows_that_were_dropped_do_not_shift_the_records(make_mixture):
    encoding = EncodingSettings(max_length=45, max_share_dropped=0.7)
    mixture = make_mixture(StratifiedReplaySampler(0.25), encoding=encoding)
    # r2, r5 and r8 have 50 tokens; 8 task rows are left, so that two epochs hold four replay rows.
    assert [row.id for row in mixture.replay_rows] == ["r0", "r1", "r3", "r4", "r6", "r7", "r9"]
    assert len(mixture.task_rows) == 8
    assert [record.id for record in mixture._replay_records] == [row.id for row in mixture.replay_rows]
    labels = ["easy" if int(row.removeprefix("r")) % 2 == 0 else "hard"
              for step in row_ids(mixture, range(4)) for row in step if row.startswith("r")]  # fmt: skip
    assert Counter(labels) == {"easy": 2, "hard": 2}


def test_long_rows_are_told_with_their_place(make_mixture):
    told = r"CountingTask.rows\('train'\): 2 of 23 rows \(9%\) are longer than encoding.max_length 80 and are left out"
    with pytest.warns(UserWarning, match=told):
        make_mixture(RatioSampler(0.25), encoding=EncodingSettings(max_length=80))
    strict = EncodingSettings(max_length=45, over_length="error")
    with pytest.raises(DataError, match=r"replay.jsonl, line 3: 50 tokens are more than encoding.max_length 45"):
        make_mixture(RatioSampler(0.25), task=CountingTask(2), encoding=strict)


def test_rows_that_the_model_cannot_take_are_named_by_their_line(make_mixture, monkeypatch: pytest.MonkeyPatch):
    limits = SimpleNamespace(check=lambda ids, what: (_ for _ in ()).throw(DataError(f"{what} too long", "Shorten it")))
    monkeypatch.setattr(BaseModel, "limits", limits)
    with pytest.raises(DataError, match=r"CountingTask.rows\('train'\), line 1 too long"):
        make_mixture()


def test_summary_states_the_realised_share_and_shortfalls(make_mixture, tmp_path: Path):
    with pytest.warns(UserWarning, match="Replay quotas that the rows cannot fill"):
        mixture = make_mixture(StratifiedReplaySampler(0.25, "downstream", hard_share=1.0))
    summary = mixture.summary()
    # round(.25 x 23) = 6 replay rows beside 23 task rows; 5 of the 10 rows are hard.
    assert (summary["rows_per_epoch"], summary["replay_rows_per_epoch"], summary["steps_per_epoch"]) == (29, 6, 8)
    assert summary["replay_share"] == pytest.approx(6 / 29, abs=1e-12)
    assert summary["shortfalls"][0] == {"stratum": "hard", "num_wanted": 6, "num_taken": 5}
    assert summary["sources"]["task"]["num_kept"] == 23
    assert json.loads(json.dumps(summary)) == summary


class OddSampler(RatioSampler):
    def task_order(self, pass_index: int, seed: int, num_rows: int) -> list[int]:
        return [0] * num_rows


def test_a_sampler_of_ones_own_must_bring_each_row_once(make_mixture):
    with pytest.raises(PluginError, match=r"OddSampler.task_order \(.*\) returns 23 indices, not each of 23 rows once"):
        make_mixture(OddSampler(0.25)).plan(0)
    assert Sampler.task_order(OddSampler(), 0, 0, 3) != [0, 0, 0]


class OwnTask(ConversationDataModule):
    def __init__(self, given: list) -> None:
        super().__init__()
        self.given = given

    def rows(self, split: str) -> list:
        return self.given if split == "train" else []


TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], r"OwnTask.rows\('train'\) gives no row"),
        (["text"], r"OwnTask.rows\('train'\), line 1: a str, not a mapping"),
        ([{"messages": TURNS}, {"prompt": "a"}], r"OwnTask.rows\('train'\), line 2: messages is not a list of turns"),
        ([{"messages": TURNS, "id": "x"}] * 2, r"line 2: the id 'x' occurs twice"),
    ],
)
def test_a_task_of_ones_own_gets_good_errors(make_mixture, given: list, problem: str):
    with pytest.raises(DataError, match=problem):
        make_mixture(task=OwnTask(given))


def test_errors_come_before_the_tokenizer_is_loaded(make_mixture, tmp_path: Path):
    def fails(mixture: MixtureDataModule, problem: str) -> None:
        mixture.base = None  # would fail with another error if it were asked
        with pytest.raises((ConfigError, DataError), match=problem):
            mixture.setup("fit")

    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a", "response": "b"}\n{\n')
    fails(make_mixture(replay=ReplayDataModule(str(tmp_path / "empty.jsonl")), setup=False), "no row to replay")
    fails(make_mixture(task=JSONLTask(str(tmp_path / "none.jsonl")), setup=False), "no such file")
    fails(make_mixture(task=JSONLTask(str(tmp_path / "broken.jsonl")), setup=False), "line 2: not JSON")
    fails(make_mixture(replay=None, setup=False), "no replay rows")


def test_a_micro_batch_must_hold_the_longest_row(make_mixture):
    with pytest.raises(ConfigError, match=r"max_tokens_per_micro_batch is 100, less than encoding.max_length 256"):
        make_mixture(max_tokens=100)


def test_what_workers_get_can_be_pickled(make_mixture):
    dataset = make_mixture().train_dataloader().dataset
    mixture = make_mixture()
    again = pickle.loads(pickle.dumps(dataset))
    item = next(iter(mixture.train_dataloader().sampler))
    assert again[item].row_ids == mixture.step_batch(0, 0, 1).row_ids
