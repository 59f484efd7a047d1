"""Runs with classes of one's own that return what they must not: exit code 2, and their file and line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import Run

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
         "Texts.rows('train'), line 1: a str, not a mapping. Yield dicts with messages."),
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
