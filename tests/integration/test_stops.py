"""A run that is stopped at any two steps ends as the uninterrupted one: same steps, rows, adapter and optimizer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from tests.integration.conftest import Workplace

STEPS, STEPS_PER_EPOCH, EVERY = 18, 6, 4
ALL_PAIRS = list(combinations(range(STEPS), 2))
# An epoch's last step and its first, the ends of two epochs, and the middle of two.
SAMPLE = [(5, 6), (5, 11), (2, 13)]
ENDS: dict[str, dict[str, int]] = {
    "epochs": {"max_epochs": 3},
    "steps": {"max_epochs": -1, "max_steps": STEPS},
    "both": {"max_epochs": 3, "max_steps": STEPS},
}

Make = Callable[[str], Workplace]


class Stops:
    """One way to stop runs of three epochs of six steps: a signal, a number of ranks, and what ends the run.

    Args:
        make: makes a working directory.
        name: of the signal.
        ranks: processes of a run.
        end: key of `ENDS`.
    """

    def __init__(self, make: Make, name: str, ranks: int, end: str) -> None:
        self.signal = name
        self.ranks = ranks
        self.whole = make("whole")
        config = self.whole.config
        config["model"]["base"]["quantization"] = "none"
        config["data"]["batching"]["max_tokens_per_micro_batch"] = 1024
        config["data"]["task"]["init_args"]["validation_path"] = "test.jsonl"
        # Validation comes within epochs and at their ends; early stopping has a state, and never stops.
        early = {"class_path": "EarlyStopping", "init_args": {"monitor": "validation/loss", "patience": 99}}
        checkpoint = {"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": EVERY}}
        config["trainer"] |= ENDS[end] | {"val_check_interval": 0.5, "log_every_n_steps": 1}
        config["trainer"]["callbacks"] = [checkpoint, early, {"class_path": "my_callbacks.Recorder"}]
        if ranks > 1:
            config["trainer"] |= {"devices": ranks, "strategy": "ddp"}
        assert self.whole.run(ranks=ranks) == 0, (self.whole.folder / "log.txt").read_text()
        places = [(step, step // STEPS_PER_EPOCH, step % STEPS_PER_EPOCH) for step in range(STEPS)]
        assert self.whole.steps() == places

    def pairs(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of `pairs` that a signal can bring about: several ranks agree to stop one step after it came."""
        least = self.ranks if self.signal == "SIGTERM" else 1
        return [(first, second) for first, second in pairs if first >= least - 1 and second - first >= least]

    def stopped_at(self, place: Workplace, stop: int, *words: str) -> Workplace:
        """Run `place` until it is stopped after step `stop` (from 0)."""
        if self.signal == "SIGTERM":
            code = place.run(*words, ranks=self.ranks, SIGTERM_BEFORE=stop - (self.ranks - 1))
        else:
            code = place.run(*words, ranks=self.ranks, SIGKILL_AFTER=stop)
        # With its last step a run comes to its end.
        expected = -9 if self.signal == "SIGKILL" else 0 if stop == STEPS - 1 else 143
        assert code == expected, (place.folder / "log.txt").read_text()[-3000:]
        return place

    def check(self, place: Workplace, pair: tuple[int, int]) -> None:
        """Compare a run stopped at a pair of steps with the uninterrupted one."""
        assert place.steps() == [(step, step // STEPS_PER_EPOCH, step % STEPS_PER_EPOCH) for step in self.steps(pair)]
        assert place.rows() == self.whole.rows()
        assert contents(place) == contents(self.whole)
        summaries = [each.summary() for each in (place, self.whole)]
        assert [each["num_steps"] for each in summaries] == [STEPS, STEPS]
        assert summaries[0]["num_tokens"] == summaries[1]["num_tokens"]

    def steps(self, pair: tuple[int, int]) -> list[int]:
        """The steps that the three processes of a pair of stops do."""
        steps: list[int] = []
        start = 0
        for stop in (*pair, STEPS - 1):
            steps += range(start, stop + 1)
            # A killed run restarts at the checkpoint before that step; one that was asked to stop saved its last step.
            start = stop + 1 if self.signal == "SIGTERM" else max(last_checkpoint(stop), start)
        return steps


def last_checkpoint(stop: int) -> int:
    """The newest checkpoint when step `stop` (from 0) has been done, but not saved."""
    return stop // EVERY * EVERY


def contents(place: Workplace) -> dict[str, Any]:
    """All that two equal runs have in common, but for times: bytes, tensors as bytes, and metrics."""
    adapter = place.run_dir / "adapter" / "adapter_model.safetensors"
    last = place.run_dir / "checkpoints" / f"step={STEPS:06d}" / "trainer.ckpt"
    state = torch.load(last, weights_only=True)
    metrics = (place.run_dir / "metrics.csv").read_text().splitlines()
    return {
        "adapter": adapter.read_bytes(),
        "optimizer": [bytes_of(value) for value in state["optimizer_states"]],
        "schedule": state["lr_schedulers"],
        "early stopping": [value for name, value in state["callbacks"].items() if "EarlyStopping" in name],
        "data": state["MixtureDataModule"],
        "metrics": [line for line in metrics if "tokens_per_second" not in line],
    }


def bytes_of(value: Any) -> Any:
    """The same with tensors as bytes, which `==` compares."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: bytes_of(child) for key, child in value.items()}
    return [bytes_of(child) for child in value] if isinstance(value, list | tuple) else value


def check_pairs(stops: Stops, wanted: list[tuple[int, int]]) -> int:
    """Check each pair that can be; the first stop of several pairs is made once. Returns their number."""
    pairs = stops.pairs(wanted)
    for first in sorted({pair[0] for pair in pairs}):
        once = stops.stopped_at(stops.whole.copy(f"stop-{first}").cleared(), first)
        for pair in (pair for pair in pairs if pair[0] == first):
            place = once.copy("pair")
            stops.stopped_at(place, pair[1], "--resume")
            assert place.run("--resume", ranks=stops.ranks) == 0, (place.folder / "log.txt").read_text()[-3000:]
            stops.check(place, pair)
            shutil.rmtree(place.folder)
    return len(pairs)


@pytest.mark.parametrize(("name", "end"), [("SIGKILL", "epochs"), ("SIGTERM", "both")])
def test_a_run_stopped_at_two_steps_equals_uninterrupted(workplace: Make, name: str, end: str) -> None:
    assert check_pairs(Stops(workplace, name, 1, end), SAMPLE) == len(SAMPLE)


@pytest.mark.faults
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_every_pair_of_stops_on_one_device(workplace: Make, name: str, end: str) -> None:
    pairs = ALL_PAIRS if end == "epochs" else SAMPLE
    assert check_pairs(Stops(workplace, name, 1, end), pairs) == len(pairs)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "num_pairs"), [("SIGKILL", 153), ("SIGTERM", 120)])
def test_every_pair_of_stops_on_two_devices(workplace: Make, name: str, num_pairs: int) -> None:
    assert check_pairs(Stops(workplace, name, 2, "epochs"), ALL_PAIRS) == num_pairs
