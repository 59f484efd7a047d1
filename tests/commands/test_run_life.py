"""What `grsap fit` does to a run folder that exists: resuming, extending, refusing, and what ends a run."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from tests.commands.conftest import Run

from grsap.disk import writing
from grsap.files import hash_file
from grsap.runs.folder import RunFolder
from grsap.training import SafetyFineTuning

WEIGHTS = "adapter_model.safetensors"


class Died(BaseException):
    """Stands for `kill -9`."""


def content(folder: Path) -> dict[str, str]:
    """The hash of every file but the lock, by its path."""
    return {
        str(path.relative_to(folder)): hash_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def summary(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.run_dir / "summary.json").read_text())
    return found


@pytest.fixture
def killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of two epochs of two steps that was killed in its fourth step, with a checkpoint at each step before."""
    run.config["model"]["schedule"] = {"class_path": "ConstantRate"}
    run.config["trainer"] |= {
        "max_epochs": 2,
        "callbacks": [{"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 1, "keep_last": 9}}],
    }
    step = SafetyFineTuning.training_step

    def die(self: SafetyFineTuning, batch: Any, *rest: Any) -> None:
        if batch.step == 3:
            raise Died
        step(self, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(SafetyFineTuning, "training_step", die)
        with pytest.raises(Died):
            run.fit()
    assert [path.name for path in RunFolder(run.run_dir).checkpoints()] == [f"step=00000{n}" for n in (1, 2, 3)]
    return run


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seed_everything=7"], "data.seed is 7, but the checkpoint was made with 0"),
        (["--model.lora.r=3"], "Resume with the original settings of model.lora"),
        (
            ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"],
            'model.optimizer.class_path: "torch.optim.AdamW" -> "torch.optim.SGD": the saved optimizer state does not',
        ),
        (
            ["--data.batching.max_tokens_per_micro_batch=1"],
            "data.batching.max_tokens_per_micro_batch is 1, less than encoding.max_length",
        ),
    ],
    ids=["data order", "weights", "optimizer", "data"],
)
def test_a_resume_that_is_refused_changes_nothing(
    killed: Run, words: list[str], reason: str, error_of: Callable[[], str]
) -> None:
    shutil.copytree(killed.run_dir / "checkpoints" / "step=000003", killed.run_dir / "checkpoints" / "step=000900")
    before = content(killed.run_dir)
    error_of()
    code = killed.fit("--resume", *words)
    told = error_of()
    assert (code, reason in told) == (2, True), told
    assert content(killed.run_dir) == before


def test_nothing_is_deleted_that_the_run_did_not_write(killed: Run, error_of: Callable[[], str]) -> None:
    checkpoints = killed.run_dir / "checkpoints"
    for name in ("step=000000", "step=000900"):
        (checkpoints / name).mkdir()
        (checkpoints / name / "notes.txt").write_text(name)
    (killed.run_dir / ".notes.1.tmp").write_text("mine")
    killed.config["trainer"]["callbacks"][0]["init_args"]["keep_last"] = 2
    assert killed.fit("--resume") == 0
    assert f"were moved to {checkpoints / 'set_aside' / '1'}: step=000900." in error_of()
    assert (checkpoints / "set_aside" / "1" / "step=000900" / "notes.txt").read_text() == "step=000900"
    assert (checkpoints / "step=000000" / "notes.txt").read_text() == "step=000000"
    assert (killed.run_dir / ".notes.1.tmp").read_text() == "mine"
    names = ["set_aside", "step=000000", "step=000003", "step=000004"]
    assert sorted(path.name for path in checkpoints.iterdir()) == names


def test_a_damaged_checkpoint_is_set_aside_and_its_steps_are_done_again(killed: Run) -> None:
    path = killed.run_dir / "checkpoints" / "step=000003" / "trainer.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    damaged = path.read_bytes()
    assert killed.fit("--resume") == 0
    kept = killed.run_dir / "checkpoints" / "set_aside" / "1" / "step=000003" / "trainer.ckpt"
    assert kept.read_bytes() == damaged
    assert summary(killed)["num_steps"] == 4


def test_a_checkpoint_that_cannot_be_read_now_ends_the_resume(
    killed: Run, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]
) -> None:
    before = content(killed.run_dir)
    opened = Path.open

    def fail(self: Path, *words: Any, **settings: Any) -> Any:
        if self.parent.name == "step=000003":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(self, *words, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        assert killed.fit("--resume") == 2
    assert "step=000003/state.json cannot be read: Input/output error. Check the disk" in error_of()
    assert content(killed.run_dir) == before


def test_checkpoints_are_not_moved_out_of_a_folder_that_is_linked(killed: Run, error_of: Callable[[], str]) -> None:
    elsewhere = killed.folder / "elsewhere"
    (killed.run_dir / "checkpoints").rename(elsewhere)
    (killed.run_dir / "checkpoints").symlink_to(elsewhere)
    (elsewhere / "step=000900").mkdir()
    before = content(elsewhere)
    assert killed.fit("--resume") == 2
    assert f"is a link to {elsewhere}, where another run may need it" in error_of()
    assert content(elsewhere) == before
    (elsewhere / "step=000900").rmdir()
    assert killed.fit("--resume") == 0


def test_a_run_that_starts_again_logs_no_step_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    check = {"probes": str(run.folder / "probes.jsonl"), "sampling": {"max_new_tokens": 2}, "at_end": False}
    run.config["trainer"]["callbacks"] = [{"class_path": "HarmfulnessCheck", "init_args": check}]

    def die(*words: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(SafetyFineTuning, "training_step", die)
        with pytest.raises(Died):
            run.fit()
    metrics = run.run_dir / "metrics.csv"
    first = metrics.read_text()
    assert "\n0,check/" in first
    assert run.fit("--resume") == 0
    lines = metrics.read_text().splitlines()
    keys = [line.rsplit(",", 1)[0] for line in lines]
    assert len(keys) == len(set(keys))
    assert [line for line in lines if line.startswith("0,")] == first.splitlines()[1:]


def states(run: Run) -> list[Any]:
    """Adapter bytes, optimizer state and the steps that were logged."""
    (last,) = RunFolder(run.run_dir).checkpoints()[-1:]
    optimizer = torch.load(last / "trainer.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    lines = [line.split(",") for line in (run.run_dir / "metrics.csv").read_text().splitlines()]
    losses = [(step, value) for step, key, value in lines if key == "train/loss"]
    tensors = [(key, name, value.tolist()) for key, state in optimizer.items() for name, value in state.items()]
    return [(run.run_dir / "adapter" / WEIGHTS).read_bytes(), last.name, losses, tensors]


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [({"max_epochs": 2}, {"max_epochs": 3}), ({"max_steps": 3}, {"max_steps": 5}), ({}, {"max_steps": 3})],
    ids=["epochs", "steps", "epochs to steps"],
)
def test_a_finished_run_can_be_extended(
    run: Run, shorter: dict[str, int], longer: dict[str, int], error_of: Callable[[], str]
) -> None:
    run.config["model"]["schedule"] = {"class_path": "ConstantRate"}
    run.config["trainer"] |= longer
    assert run.fit("--run_dir", str(run.folder / "whole")) == 0
    whole = Run(run.folder, run.config)
    whole.run_dir = run.folder / "whole"

    for key in longer:
        run.config["trainer"].pop(key)
    run.config["trainer"] |= shorter
    assert run.fit() == 0
    first = summary(run)
    run.config["trainer"] = {"accelerator": "cpu", **longer}
    assert run.fit() == 2
    assert "Add --resume to extend the run" in error_of()
    assert run.fit("--resume") == 0
    aside = run.run_dir / "set_aside" / "1"
    assert f"Results of the earlier end of the run were moved to {aside}." in error_of()
    assert json.loads((aside / "summary.json").read_text()) == first
    assert states(run) == states(whole)
    assert summary(run)["num_tokens"] == summary(whole)["num_tokens"]
    assert run.fit() == 0
    assert f"The run in {run.run_dir} is finished." in error_of()


def test_a_run_that_its_time_ended_can_be_given_more(
    run: Run, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]
) -> None:
    run.config["trainer"] |= {"max_epochs": 2, "max_time": {"hours": 1}}
    step = SafetyFineTuning.training_step

    def last(self: SafetyFineTuning, *words: Any) -> None:
        step(self, *words)
        (timer,) = (each for each in self.trainer.callbacks if isinstance(each, Timer))
        timer._offset = 3600

    with monkeypatch.context() as patch:
        patch.setattr(SafetyFineTuning, "training_step", last)
        assert run.fit() == 0
    assert "an epoch has 2. It may end earlier: trainer.max_time 1 h 00 min." in error_of()
    assert (summary(run)["num_steps"], summary(run)["stop_reason"]) == (1, "max_time")
    run.config["trainer"]["max_time"] = {"hours": 2}
    assert run.fit("--resume") == 0
    assert (summary(run)["num_steps"], summary(run)["stop_reason"]) == (4, "max_epochs")


def test_a_finished_run_is_not_made_shorter(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit("--trainer.max_epochs=2") == 0
    before = content(run.run_dir)
    assert run.fit("--trainer.max_epochs=1", "--resume") == 2
    assert "holds a finished run of 4 steps, but these settings end after 2" in error_of()
    assert content(run.run_dir) == before


@pytest.mark.parametrize(
    ("bounds", "steps", "reason", "line"),
    [
        ({}, 2, "max_epochs", "This run ends after 2 steps: trainer.max_epochs is 1, and an epoch has 2."),
        ({"max_steps": 5}, 5, "max_steps", "This run ends after 5 steps: trainer.max_steps; an epoch has 2."),
        ({"max_steps": 1}, 1, "max_steps", "This run ends after 1 step: trainer.max_steps; an epoch has 2."),
        (
            {"max_steps": 5, "max_epochs": 1},
            2,
            "max_epochs",
            "ends after 2 steps: trainer.max_epochs is 1, and an epoch has 2; trainer.max_steps 5 is not reached.",
        ),
    ],
)
def test_what_ends_a_run_is_told_before_and_after(
    run: Run, bounds: dict[str, Any], steps: int, reason: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.config["trainer"] |= bounds
    assert run.fit("--dry-run") == 0
    assert line in " ".join(capsys.readouterr().out.split())
    assert run.fit() == 0
    captured = capsys.readouterr()
    assert line in captured.err.splitlines()[0]
    assert f"trainer.{reason}" in captured.out
    assert (summary(run)["num_steps"], summary(run)["stop_reason"]) == (steps, reason)


def test_early_stopping_is_the_reason(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = {"monitor": "validation/loss", "mode": "max", "patience": 1}
    callback = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}
    run.config["data"]["task"]["init_args"]["validation_path"] = str(run.folder / "task.jsonl")
    run.config["trainer"] |= {"max_epochs": 9, "callbacks": [callback]}
    assert run.fit() == 0
    assert "It may end earlier: EarlyStopping on validation/loss." in capsys.readouterr().err.splitlines()[0]
    found = summary(run)
    assert found["num_steps"] < 18
    assert found["stop_reason"].startswith("EarlyStopping: Monitored metric validation/loss did not improve")
    assert run.fit("--resume", "--trainer.max_epochs=20") == 2
    assert "it cannot be extended" in " ".join(capsys.readouterr().err.split())


def test_a_callback_of_the_users_is_the_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SafetyFineTuning.training_step

    def stop(self: SafetyFineTuning, *words: Any) -> None:
        step(self, *words)
        self.trainer.should_stop = True

    monkeypatch.setattr(SafetyFineTuning, "training_step", stop)
    assert run.fit() == 0
    assert (summary(run)["num_steps"], summary(run)["stop_reason"]) == (1, "a callback set trainer.should_stop")


def test_a_full_disk_at_the_very_end_is_made_up_for_by_the_same_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]
) -> None:
    def full(*words: Any, **settings: Any) -> None:
        with writing(run.run_dir / "adapter" / "README.md"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("grsap.runs.model_card.write_atomic", full)
        assert run.fit() == 2
    assert "adapter/README.md cannot be written: No space left on device. Free some space" in error_of()
    assert run.fit() == 0
    assert (run.run_dir / "adapter" / "README.md").read_text().startswith("---")


def test_lightnings_own_way_to_resume_is_refused(run: Run, no_weights: None, error_of: Callable[[], str]) -> None:
    callback = {"class_path": "lightning.pytorch.callbacks.OnExceptionCheckpoint", "init_args": {"dirpath": "x"}}
    run.config["trainer"]["callbacks"] = [callback]
    assert run.fit() == 2
    assert "has OnExceptionCheckpoint, from whose file Lightning would resume by itself" in error_of()
