"""The state of balancers, schedules, objectives and samplers is part of a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.conftest import Workplace

ADAPTER = "adapter/adapter_model.safetensors"

PLUGINS = '''
import torch

from grsap.objectives import Balancer, CrossEntropy
from grsap.training import LearningRateSchedule


class DualAscent(Balancer):
    """Raises the multiplier of the replay loss while a rate is above a bound."""

    def __init__(self, rate: float = 0.3):
        self.rate, self.multiplier, self.seen = rate, 1.0, []

    def weights(self, objectives, previous):
        if previous is not None:
            self.multiplier += 0.01 * previous.losses.get("replay_cross_entropy", 0.0)
        return {each.name: self.multiplier if each.source == "replay" else 1.0 for each in objectives}

    def observe(self, rates, step):
        self.multiplier += self.rate * (1 + rates["check/refusal_rate/harmful"])
        self.seen.append(step)

    def state_dict(self):
        return {"multiplier": self.multiplier, "seen": self.seen}

    def load_state_dict(self, state_dict):
        self.multiplier, self.seen = state_dict["multiplier"], list(state_dict["seen"])


class CountingRate(LearningRateSchedule):
    """Its factor depends on how often it was asked in training."""

    def __init__(self):
        self.calls = 0

    def factor(self, step, num_steps):
        self.calls += step > 0
        return 1.0 / (1 + self.calls)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state_dict):
        self.calls = state_dict["calls"]


class Moving(CrossEntropy):
    """Divides by a running mean, which it keeps as a tensor."""

    def __init__(self):
        super().__init__("task")
        self.mean = torch.ones(())

    def setup(self, rows):
        self.ids = {row.id for row in rows}

    def token_losses(self, chunk):
        assert {chunk.row_ids[row] for row in chunk.rows.tolist()} <= self.ids
        losses = super().token_losses(chunk)
        self.mean = 0.9 * self.mean + 0.1 * losses.detach().mean()
        return losses / self.mean

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state_dict):
        self.mean = state_dict["mean"]


class LeavesOut(Balancer):
    def weights(self, objectives, previous):
        return {"task_cross_entropy": 1.0}


class Unreadable(DualAscent):
    def state_dict(self):
        return {"rule": UnicodeError}


class OneWay(Balancer):
    def weights(self, objectives, previous):
        return {each.name: 1.0 for each in objectives}

    def state_dict(self):
        return {}
'''

Make = Callable[[str], Workplace]


@pytest.fixture
def place(workplace: Make) -> Make:
    """A working directory with these classes, whose run checks every second step."""

    def make(name: str) -> Workplace:
        made = workplace(name)
        (made.folder / "my_plugins.py").write_text(PLUGINS)
        made.config["trainer"]["callbacks"][0]["init_args"] |= {"every_n_steps": 2}
        made.config["model"]["balancer"] = {"class_path": "my_plugins.DualAscent"}
        return made

    return make


def weights_logged(place: Workplace) -> list[str]:
    return [line for line in (place.run_dir / "metrics.csv").read_text().splitlines() if ",train/weight/" in line]


def test_a_killed_run_has_the_multipliers_and_bytes_of_the_uninterrupted_one(place: Make) -> None:
    def stateful(name: str) -> Workplace:
        made = place(name)
        made.config["model"]["schedule"] = {"class_path": "my_plugins.CountingRate"}
        replay: dict[str, Any] = {"class_path": "CrossEntropy", "init_args": {"source": "replay"}}
        made.config["model"]["objectives"] = [{"class_path": "my_plugins.Moving"}, replay]
        return made

    whole = stateful("whole")
    assert whole.run() == 0, (whole.folder / "log.txt").read_text()
    killed = stateful("killed")
    assert killed.run(SIGKILL_AFTER=4) == -9
    assert killed.run("--resume", SIGKILL_AFTER=7) == -9
    assert killed.run("--resume") == 0, (killed.folder / "log.txt").read_text()

    logged = weights_logged(whole)
    assert len(logged) == 2 * 12
    assert len({line.split(",")[2] for line in logged if "replay" in line}) == 12
    assert weights_logged(killed) == logged
    assert killed.rows() == whole.rows()
    assert (killed.run_dir / ADAPTER).read_bytes() == (whole.run_dir / ADAPTER).read_bytes()


def test_a_checkpoint_without_the_state_of_a_balancer_or_with_one_too_many_is_refused(place: Make) -> None:
    first = place("first")
    assert first.run(SIGTERM_AFTER=3) == 143
    config = copy.deepcopy(first.config)
    config["model"]["balancer"] = {"class_path": "FixedWeights"}
    assert first.copy("other").run("--resume", config=config) == 2

    from grsap.errors import ConfigError
    from grsap.training.plugin_states import collect, restore

    class Counts:
        def __init__(self) -> None:
            self.state: dict[str, Any] = {"n": 1}

        def state_dict(self) -> dict[str, Any]:
            return self.state

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.state = state_dict

    saved = collect({"model.balancer": Counts(), "data.sampler": object()})
    assert saved == {"model.balancer (Counts)": {"n": 1}}
    told = r"step=4 holds the state of model\.balancer \(Counts\), which is not in this run\. Resume with"
    with pytest.raises(ConfigError, match=told):
        restore({"model.balancer": object()}, saved, "step=4")
    with pytest.raises(ConfigError, match=r"step=4 lacks the state of data\.sampler \(Counts\), which this run needs"):
        restore({"model.balancer": Counts(), "data.sampler": Counts()}, saved, "step=4")


@pytest.mark.parametrize(
    ("name", "told", "is_before_weights"),
    [
        (
            "LeavesOut",
            r"LeavesOut.weights (my_plugins.py, line 71) returns weights of task_cross_entropy. Return",
            True,
        ),
        ("OneWay", "OneWay.state_dict (my_plugins.py, line 84) comes without load_state_dict. Write", True),
        ("Unreadable", "The state of model.balancer (Unreadable) contains", False),
    ],
)
def test_a_balancer_that_cannot_work_is_named_before_the_run_relies_on_it(
    place: Make, name: str, told: str, is_before_weights: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    made = place("wrong")
    made.config["model"]["balancer"] = {"class_path": f"my_plugins.{name}"}
    assert made.run() == 2
    assert told in " ".join(capfd.readouterr().err.split())
    assert (made.folder / "rows.txt").exists() is not is_before_weights
