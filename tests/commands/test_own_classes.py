"""Runs with classes of one's own that return what they must not: exit code 2, and their file and line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.badinput.case import Case
from tests.badinput.worlds import lay_out
from tests.commands.conftest import Run

from grsap.cli import main
from grsap.models import BaseModel

MODULE = """\
from grsap.data import ConversationDataModule, Sampler
from grsap.objectives import Balancer, Objective
from grsap.training import LearningRateSchedule


class MeanLoss(Objective):
    def __init__(self):
        super().__init__("task", 1.0, "mean")

    def token_losses(self, chunk):
        return chunk.log_probs.mean()


class Faulty(Objective):
    def __init__(self):
        super().__init__("task", 1.0, "faulty")

    def token_losses(self, chunk):
        return chunk.no_such_thing


class Fickle(Balancer):
    def weights(self, objectives, previous):
        return {"other": 1.0}


class Listed(LearningRateSchedule):
    def factor(self, step, num_steps):
        return [1.0]


class Mapped(Sampler):
    def schedule(self, num_task, num_replay, global_batch_size):
        return {"num_rows": 4}


class Texts(ConversationDataModule):
    def rows(self, split):
        return ["text"] if split == "train" else []


class Nothing(ConversationDataModule):
    def rows(self, split):
        return None
"""

REPLAY = {"class_path": "CrossEntropy", "init_args": {"source": "replay"}}


@pytest.fixture
def own(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(run.folder)
    monkeypatch.delitem(sys.modules, "my_own_classes", raising=False)
    Path("my_own_classes.py").write_text(MODULE)
    importlib.invalidate_caches()
    return run


@pytest.mark.parametrize(
    ("key", "value", "loads", "told"),
    [
        ("model.objectives", [{"class_path": "my_own_classes.MeanLoss"}, REPLAY], True,
         "MeanLoss.token_losses (my_own_classes.py, line 10) returns a Tensor of shape () of torch.float32 for "),
        ("model.objectives", [{"class_path": "my_own_classes.Faulty"}, REPLAY], True,
         "my_own_classes.py, line 19, in Faulty.token_losses: AttributeError: 'TokenChunk' object has no attribute"),
        ("model.balancer", {"class_path": "my_own_classes.Fickle"}, True,
         "Fickle.weights (my_own_classes.py, line 23) returns weights of other. Return a dict with a finite number of"),
        ("model.schedule", {"class_path": "my_own_classes.Listed"}, False,
         "Listed.factor (my_own_classes.py, line 28) returns a list at step 0 of 2. Return a finite number of "),
        ("data.sampler", {"class_path": "my_own_classes.Mapped"}, False,
         "Mapped.schedule (my_own_classes.py, line 33) returns a dict. Return a grsap.data.plan.Schedule."),
        ("data.task", {"class_path": "my_own_classes.Texts"}, False,
         "my_own_classes.py, Texts.rows('train'), line 1: a str, not a mapping. Yield dicts with messages."),
        ("data.task", {"class_path": "my_own_classes.Nothing"}, False,
         "Nothing.rows (my_own_classes.py, line 43) returns None for 'train'. Return or yield dicts with messages."),
    ],
)  # fmt: skip
def test_a_class_that_breaks_its_contract(
    key: str, value: Any, loads: bool, told: str, own: Run, error_of: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not loads:
        monkeypatch.setattr(BaseModel, "load", lambda *_, **__: pytest.fail("weights were loaded"))
    section, name = key.split(".")
    own.config[section][name] = value
    assert own.fit() == 2
    assert f"error: {told}" in error_of()


RAISING = """\
from grsap.curation import Filter
from grsap.data import ConversationDataModule, RatioSampler
from grsap.judging import Judge
from grsap.objectives import Balancer


class Partial(Balancer):
    def weights(self, objectives, previous):
        return {each.name: 1.0 for each in objectives}[None]


class Unsorted(RatioSampler):
    def task_order(self, pass_index, seed, num_rows):
        return sorted([1, "a"])


class Unread(ConversationDataModule):
    def __init__(self):
        super().__init__()
        open("no/such/file")

    def rows(self, split):
        return []


class Broken(Filter):
    def decide(self, rows, work):
        raise RuntimeError("not today")


class Mute(Judge):
    name = "mute"

    def judge(self, exchanges):
        return exchanges[0].no_such_thing
"""
JUDGED = {"class_path": "raising.Mute"}


@pytest.mark.parametrize(
    ("verb", "change", "told"),
    [
        ("fit", {"model.balancer": {"class_path": "raising.Partial"}}, "line 9, in Partial.weights: KeyError: None"),
        (
            "fit",
            {"data.sampler": {"class_path": "raising.Unsorted", "init_args": {"replay_ratio": 0.25}}},
            "line 14, in Unsorted.task_order: TypeError",
        ),
        ("fit", {"data.task": {"class_path": "raising.Unread"}}, "line 20, in Unread.__init__: FileNotFoundError"),
        (
            "curate",
            {"filters": [{"class_path": "raising.Broken"}]},
            "line 28, in Broken.decide: RuntimeError: not today",
        ),
        (
            "curate",
            {"judge": JUDGED, "filters": [{"class_path": "Harmlessness"}]},
            "line 35, in Mute.judge: AttributeError",
        ),
        ("evaluate", {"judges": [JUDGED]}, "line 35, in Mute.judge: AttributeError"),
    ],
)
def test_an_exception_in_a_users_class_names_its_file_and_line(
    verb: str,
    change: dict[str, Any],
    told: str,
    tmp_path: Path,
    tiny_base_path: Path,
    error_of: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "raising", raising=False)
    words = lay_out(Case(verb, verb, (), change, {"raising.py": RAISING}), tmp_path, tiny_base_path)
    importlib.invalidate_caches()
    assert main(words) == 2
    assert f"raising.py, {told}" in error_of()
