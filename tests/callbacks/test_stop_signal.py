from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from tests.callbacks.toy_run import SeenAtStart, row_ids, toy_fit

from grsap.callbacks import AdapterCheckpoint, GracefulStop, Provenance, RunSummary
from grsap.errors import ConfigError, Interrupted
from grsap.runs.folder import RunFolder, checkpoint_damage

ROOT = Path(__file__).parents[2]


EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 143, signal.SIGUSR1: 138, signal.SIGHUP: 129}


class SignalAt(Callback):
    """Sends signals to this process in the middle of a step."""

    def __init__(self, step: int, *numbers: int) -> None:
        self.step = step
        self.numbers = numbers

    def on_before_optimizer_step(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    # A shell starts background jobs, this suite too, with SIGINT ignored, and `GracefulStop` leaves it ignored then.
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in EXIT_CODES]
    yield
    assert [signal.getsignal(number) for number in EXIT_CODES] == before
    signal.signal(signal.SIGINT, outer)


@pytest.mark.parametrize("number", EXIT_CODES)
@pytest.mark.parametrize("step", [2, 4, 6], ids=["mid-epoch", "last step of an epoch", "second epoch"])
def test_finishes_the_step_saves_and_goes_on_as_if_nothing_had_been(tmp_path: Path, number: int, step: int) -> None:
    _, whole = toy_fit(tmp_path / "whole", [AdapterCheckpoint(100)])
    callbacks = [SignalAt(step, number), AdapterCheckpoint(100), GracefulStop()]
    message = f"Stopped by {signal.Signals(number).name} after step {step + 1}; saved"
    with pytest.raises(Interrupted, match=message) as stop:
        toy_fit(tmp_path / "run", callbacks)
    assert stop.value.exit_code == EXIT_CODES[number]
    folder = RunFolder(tmp_path / "run")
    assert folder.checkpoints() == [folder.checkpoint_path(step + 1)]
    assert not folder.adapter.exists()
    checkpoint = folder.newest_checkpoint()
    _, module = toy_fit(folder.path, [AdapterCheckpoint(100), GracefulStop()], checkpoint=checkpoint)
    assert module.seen == [row_ids(each) for each in range(step + 1, 10)]
    assert torch.equal(module.model.delta, whole.model.delta)
    assert (folder.metrics).read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


def test_a_signal_in_the_last_step_lets_the_run_end(tmp_path: Path) -> None:
    toy_fit(tmp_path, [SignalAt(9, signal.SIGTERM), AdapterCheckpoint(100), GracefulStop()])
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(tmp_path: Path, number: int) -> None:
    """As under `nohup`, whose purpose it is."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        toy_fit(tmp_path, [SignalAt(3, number), AdapterCheckpoint(100), GracefulStop()])
    finally:
        signal.signal(number, before)
    assert [path.name for path in RunFolder(tmp_path).checkpoints()] == ["step=000010"]


def test_a_stopped_run_says_so_in_its_summary(tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        return [Provenance(), RunSummary(), AdapterCheckpoint(100), GracefulStop()]

    (tmp_path / "config.yaml").write_text("# grsap fit\n")
    with pytest.raises(Interrupted):
        toy_fit(tmp_path, [SignalAt(3, signal.SIGUSR1), *callbacks()])
    folder = RunFolder(tmp_path)
    summary = folder.read_summary() or {}
    told = (summary["status"], summary["stop_reason"], summary["num_steps"], summary["num_tokens"])
    assert told == ("interrupted", "SIGUSR1", 4, 160)
    assert folder.check("", resume=True) == "unfinished"
    toy_fit(tmp_path, callbacks(), checkpoint=folder.newest_checkpoint())
    summary = folder.read_summary() or {}
    assert (summary["status"], summary["stop_reason"], summary["num_steps"]) == ("finished", "max_epochs", 10)
    assert not (tmp_path / "set_aside").exists()


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        toy_fit(tmp_path, [SignalAt(3, signal.SIGINT, signal.SIGINT), AdapterCheckpoint(100), GracefulStop()])
    assert stop.value.code == 130
    assert RunFolder(tmp_path).checkpoints() == []


def test_a_signal_in_the_checks_at_start_stops_at_once(tmp_path: Path) -> None:
    reached = []

    class OpeningCheck(Callback):
        def on_train_start(self, trainer: Trainer, *args: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("after the signal")

    seen = SeenAtStart()
    with pytest.raises(Interrupted, match="before the first step") as stop:
        toy_fit(tmp_path, [OpeningCheck(), seen, AdapterCheckpoint(100), GracefulStop()])
    assert stop.value.exit_code == 143
    assert (reached, seen.steps) == ([], [])


def test_needs_a_checkpoint_callback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without AdapterCheckpoint"):
        toy_fit(tmp_path, [GracefulStop()])


def test_lightning_still_has_what_is_switched_off() -> None:
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Starts `stoppable_run.py` on some devices; no process of it outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start_on(devices: int) -> subprocess.Popen[str]:
        script = ROOT / "tests" / "callbacks" / "stoppable_run.py"
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "run"), str(devices)],
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_on
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(("devices", "number"), [(1, signal.SIGTERM), (2, signal.SIGTERM), (2, signal.SIGUSR1)])
def test_a_signal_to_a_process(
    tmp_path: Path, start: Callable[[int], subprocess.Popen[str]], devices: int, number: signal.Signals
) -> None:
    process = start(devices)
    assert process.stdout is not None
    steps: list[str] = []
    for line in process.stdout:
        if line.startswith("rank"):
            steps.append(line.strip())
        if line.startswith("rank 0 step 3"):
            process.send_signal(number)
    _, errors = process.communicate(timeout=300)  # not earlier: it would lose the lines that are read ahead
    assert process.returncode == EXIT_CODES[number], errors
    last = max(int(line.split()[-1]) for line in steps)
    assert sorted(steps) == sorted(f"rank {rank} step {step}" for rank in range(devices) for step in range(1, last + 1))
    assert 3 <= last <= 6  # the step of the signal, and at most the one or two that the decision takes
    assert f"Stopped by {number.name} after step {last}; saved. Add --resume to continue." in " ".join(errors.split())
    folder = RunFolder(tmp_path / "run")
    assert folder.checkpoints() == [folder.checkpoint_path(last)]
    assert checkpoint_damage(folder.checkpoint_path(last)) is None
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoints", "metrics.csv"]
