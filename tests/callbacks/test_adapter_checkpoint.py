from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from safetensors.torch import load_file
from tests.callbacks.toy_run import (
    KillAfter,
    Killed,
    PlantedHarmfulness,
    PlantedTaskScore,
    row_ids,
    toy_fit,
)

from grsap.callbacks import AdapterCheckpoint, adapter_checkpoint
from grsap.errors import ConfigError, RunFolderError
from grsap.files import hash_file
from grsap.runs.folder import RunFolder, checkpoint_damage
from grsap.training.run_length import check_same_step


def saved(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_files_of_a_checkpoint(tmp_path: Path) -> None:
    toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=3)])
    assert saved(tmp_path) == ["step=000009", "step=000010"]
    folder = tmp_path / "checkpoints" / "step=000009"
    names = ["adapter_config.json", "adapter_model.safetensors", "state.json", "trainer.ckpt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    state = json.loads((folder / "state.json").read_text())
    assert state["step"] == 9
    assert state["files"] == {name: hash_file(folder / name) for name in names if name != "state.json"}
    checkpoint = torch.load(folder / "trainer.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == {"model.delta"}
    assert checkpoint["global_step"] == 9
    adapter = load_file(folder / "adapter_model.safetensors")
    assert torch.equal(adapter["delta"], checkpoint["state_dict"]["model.delta"])


class SeenSteps(Callback):
    """Notes which checkpoints are there when each step begins, and at the end."""

    def __init__(self) -> None:
        self.at: dict[int | str, list[str]] = {}

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        folder = RunFolder(trainer.default_root_dir)
        self.at[trainer.global_step] = [path.name[-2:] for path in folder.checkpoints()]

    def on_train_end(self, trainer: Trainer, *args: Any) -> None:
        self.at["end"] = [path.name[-2:] for path in RunFolder(trainer.default_root_dir).checkpoints()]


def test_when_checkpoints_are_written_and_deleted(tmp_path: Path) -> None:
    seen = SeenSteps()
    toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=2, keep_last=3), seen])
    assert seen.at == {
        0: [],
        1: [],
        2: ["02"],
        3: ["02"],
        4: ["02", "04"],
        5: ["02", "04"],
        6: ["02", "04", "06"],
        7: ["02", "04", "06"],
        8: ["04", "06", "08"],
        9: ["04", "06", "08"],
        "end": ["04", "06", "08"],  # step 10 is a multiple of 2, and waits for the final checks
    }
    assert saved(tmp_path) == ["step=000006", "step=000008", "step=000010"]


@pytest.mark.parametrize("how", ["max_steps", "should_stop"])
def test_the_last_step_waits_for_the_final_checks_also_within_an_epoch(tmp_path: Path, how: str) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            trainer.should_stop = how == "should_stop" and trainer.global_step == 6

    seen = SeenSteps()
    bounds = {"max_steps": 6} if how == "max_steps" else {}
    toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=3), seen, Stop()], **bounds)
    assert seen.at["end"] == ["03"]
    assert saved(tmp_path) == ["step=000003", "step=000006"]


def test_without_a_period_it_saves_at_checks_and_ends_of_epochs(tmp_path: Path) -> None:
    seen = SeenSteps()
    toy_fit(tmp_path, [AdapterCheckpoint(save_best=False, keep_last=9), PlantedTaskScore({0: 0, 3: 0.5}), seen])
    assert saved(tmp_path) == ["step=000003", "step=000005", "step=000010"]


def test_best_is_kept_within_the_harmfulness_bound(tmp_path: Path) -> None:
    task = PlantedTaskScore({0: 0.0, 2: 0.5, 4: 1.0, 7: 0.75})
    harm = PlantedHarmfulness({0: 0.0, 2: 0.25, 4: 0.75, 7: 0.75}, max_harmfulness_rate=0.5)
    checkpoint = AdapterCheckpoint(every_n_steps=4)
    toy_fit(tmp_path, [checkpoint, task, harm])
    assert saved(tmp_path) == ["step=000002", "step=000008", "step=000010"]
    assert checkpoint.best_checkpoint == tmp_path / "checkpoints" / "step=000002"
    assert checkpoint.best_model_path == str(tmp_path / "checkpoints" / "step=000002" / "trainer.ckpt")


def test_best_is_found_again_after_a_resume(tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        return [PlantedTaskScore({2: 1.0, 4: 0.5}), AdapterCheckpoint(every_n_steps=3)]

    with pytest.raises(Killed):
        toy_fit(tmp_path, [*callbacks(), KillAfter(7)])
    assert saved(tmp_path) == ["step=000002", "step=000004", "step=000006"]
    resumed = callbacks()
    toy_fit(tmp_path, resumed, checkpoint=RunFolder(tmp_path).newest_checkpoint())
    assert saved(tmp_path) == ["step=000002", "step=000009", "step=000010"]
    assert resumed[1].best_checkpoint == tmp_path / "checkpoints" / "step=000002"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("every", "kill", "resumed"),
    [(3, 4, 3), (4, 5, 4), (5, 5, 5), (5, 6, 5), (3, 8, 6), (3, 9, 9)],
    ids=["mid-epoch", "last but one of an epoch", "epoch end", "after an epoch end", "second epoch", "last step"],
)
def test_a_killed_run_goes_on_bit_by_bit(tmp_path: Path, every: int, kill: int, resumed: int) -> None:
    _, whole = toy_fit(tmp_path / "whole", [AdapterCheckpoint(every)])
    with pytest.raises(Killed):
        toy_fit(tmp_path / "killed", [AdapterCheckpoint(every), KillAfter(kill)])
    checkpoint = RunFolder(tmp_path / "killed").newest_checkpoint()
    assert checkpoint == tmp_path / "killed" / "checkpoints" / f"step={resumed:06d}"
    _, module = toy_fit(tmp_path / "killed", [AdapterCheckpoint(every)], checkpoint=checkpoint)
    assert module.seen == [row_ids(step) for step in range(resumed, 10)]
    assert whole.seen == [row_ids(step) for step in range(10)]
    ends = [tmp_path / name / "checkpoints" / "step=000010" for name in ("whole", "killed")]
    files = [(end / "adapter_model.safetensors").read_bytes() for end in ends]
    assert files[0] == files[1]
    states = [torch.load(end / "trainer.ckpt", weights_only=True) for end in ends]
    optimizers = [state["optimizer_states"][0]["state"][0] for state in states]
    assert all(torch.equal(optimizers[0][name], optimizers[1][name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    logs = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    toy_fit(tmp_path / "other", [AdapterCheckpoint(every)], seed=1)
    other = tmp_path / "other" / "checkpoints" / "step=000010" / "adapter_model.safetensors"
    assert other.read_bytes() != files[0]


def test_a_run_that_is_bounded_by_steps_goes_on_too(tmp_path: Path) -> None:
    bounds = {"max_steps": 7, "max_epochs": -1}
    _, whole = toy_fit(tmp_path / "whole", [AdapterCheckpoint(3)], **bounds)
    with pytest.raises(Killed):
        toy_fit(tmp_path / "killed", [AdapterCheckpoint(3), KillAfter(6)], **bounds)
    folder = RunFolder(tmp_path / "killed")
    _, module = toy_fit(folder.path, [AdapterCheckpoint(3)], checkpoint=folder.newest_checkpoint(), **bounds)
    assert module.seen == [row_ids(6)]
    assert torch.equal(module.model.delta, whole.model.delta)
    assert saved(folder.path) == ["step=000006", "step=000007"]


def test_a_run_that_is_bounded_by_steps_and_epochs_goes_on_from_an_epochs_end(tmp_path: Path) -> None:
    """Lightning counts an epoch again that is resumed from its end, if the checkpoint is written there."""
    bounds = {"max_steps": 13, "max_epochs": 3}
    _, whole = toy_fit(tmp_path / "whole", [AdapterCheckpoint()], **bounds)
    with pytest.raises(Killed):
        toy_fit(tmp_path / "killed", [AdapterCheckpoint(), KillAfter(7)], **bounds)
    folder = RunFolder(tmp_path / "killed")
    assert saved(folder.path) == ["step=000005"]
    _, module = toy_fit(folder.path, [AdapterCheckpoint()], checkpoint=folder.newest_checkpoint(), **bounds)
    assert module.seen == [row_ids(step) for step in range(5, 13)]
    assert torch.equal(module.model.delta, whole.model.delta)
    assert folder.metrics.read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


def test_without_a_period_an_old_checkpoint_is_followed_by_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 400 s: the third is over a quarter of an hour after the start, and so on; writing takes no time."""
    now = [0.0]
    monkeypatch.setattr(adapter_checkpoint.time, "monotonic", lambda: now[0])

    class Slow(Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            now[0] += 400.0

    toy_fit(tmp_path / "none", [Slow(), AdapterCheckpoint(keep_last=9)], max_epochs=-1, max_steps=8)
    # Epochs end at 5 steps; 3 is three steps after the start, and 8 the run's end.
    assert saved(tmp_path / "none") == ["step=000003", "step=000005", "step=000008"]
    toy_fit(tmp_path / "own", [Slow(), AdapterCheckpoint(7, keep_last=9)], max_epochs=-1, max_steps=8)
    assert saved(tmp_path / "own") == ["step=000007", "step=000008"]


def test_killed_between_writing_and_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = adapter_checkpoint.publish_dir

    def die(temporary: Path, path: Path) -> None:
        if path.name == "step=000006":
            # `kill -9` runs no clean-up, so what it leaves is copied aside and put back.
            shutil.copytree(temporary, tmp_path / "left")
            raise Killed
        publish(temporary, path)

    monkeypatch.setattr(adapter_checkpoint, "publish_dir", die)
    with pytest.raises(Killed):
        toy_fit(tmp_path / "run", [AdapterCheckpoint(3)])
    assert saved(tmp_path / "run") == ["step=000003"]
    left = tmp_path / "run" / "checkpoints" / ".step=000006.0.tmp"
    shutil.copytree(tmp_path / "left", left)
    folder = RunFolder(tmp_path / "run")
    assert folder.newest_checkpoint() == folder.checkpoint_path(3)
    folder.remove_stale()
    assert saved(tmp_path / "run") == ["step=000003"]


class BestAtTheEnd(Callback):
    """Notes the best checkpoint when the summary is written."""

    name: str | None = None

    def on_fit_end(self, trainer: Trainer, *args: Any) -> None:
        (checkpoint,) = [each for each in trainer.callbacks if isinstance(each, AdapterCheckpoint)]  # type: ignore[attr-defined]
        self.name = checkpoint.best_checkpoint and checkpoint.best_checkpoint.name


def test_killed_between_the_last_save_and_the_deletion_of_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_old = AdapterCheckpoint._delete_old

    def die(self: AdapterCheckpoint, folder: RunFolder) -> None:
        if self.last_saved_step == 10:
            raise Killed
        delete_old(self, folder)

    with monkeypatch.context() as patched:
        patched.setattr(AdapterCheckpoint, "_delete_old", die)
        with pytest.raises(Killed):
            toy_fit(tmp_path, [AdapterCheckpoint(3), PlantedTaskScore({0: 0, 3: 1.0, 10: 0.5})])
    assert saved(tmp_path) == [f"step={step:06d}" for step in (3, 6, 9, 10)]
    best = BestAtTheEnd()
    callbacks = [AdapterCheckpoint(3), PlantedTaskScore({0: 0, 3: 1.0, 10: 0.5}), best]
    toy_fit(tmp_path, callbacks, checkpoint=RunFolder(tmp_path).checkpoint_path(10))
    assert saved(tmp_path) == [f"step={step:06d}" for step in (3, 9, 10)]
    assert best.name == "step=000003"


def test_damaged_newest_checkpoint_is_replaced_on_resume(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        toy_fit(tmp_path, [AdapterCheckpoint(3), KillAfter(8)])
    folder = RunFolder(tmp_path)
    broken = folder.checkpoint_path(6) / "trainer.ckpt"
    broken.write_bytes(broken.read_bytes()[:-1])
    said: list[str] = []
    checkpoint = folder.newest_checkpoint(said.append)
    assert checkpoint == folder.checkpoint_path(3)
    assert said == [
        "Checkpoint step=000006 is damaged (trainer.ckpt is truncated or changed): trying the previous one."
    ]
    seen = SeenSteps()
    toy_fit(tmp_path, [AdapterCheckpoint(3), seen], checkpoint=checkpoint)
    assert seen.at[3] == ["03"]
    assert seen.at[6] == ["03", "06"]
    assert [checkpoint_damage(path) for path in folder.checkpoints()] == [None, None]


def test_an_export_with_files_of_the_users_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "tokenizer.json").write_text("added by hand")
    toy_fit(tmp_path, [AdapterCheckpoint(50)])
    assert (tmp_path / "set_aside" / "1" / "adapter" / "tokenizer.json").read_text() == "added by hand"
    assert not (tmp_path / "adapter" / "tokenizer.json").exists()
    toy_fit(tmp_path, [AdapterCheckpoint(50)], max_epochs=3)
    assert sorted(path.name for path in (tmp_path / "set_aside").iterdir()) == ["1"]


class Ranks:
    """Two ranks, this one at `step` and another at `other`."""

    def __init__(self, step: int, other: int) -> None:
        self.world_size = 2
        self.strategy = self
        self.root_device = torch.device("cpu")
        self.steps = (step, other)

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "max"
        return torch.tensor([[step, -step] for step in self.steps]).amax(0)


def test_ranks_that_found_different_checkpoints_do_not_train() -> None:
    check_same_step(Ranks(6, 6), 6)  # type: ignore[arg-type]
    for mine, other in ((6, 3), (3, 6)):
        with pytest.raises(RunFolderError, match="the checkpoint of step 3 to be the newest, others that of step 6"):
            check_same_step(Ranks(mine, other), mine)  # type: ignore[arg-type]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Trainer, filepath: Path, weights_only: bool) -> None:
        Path(filepath).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    with pytest.raises(RunFolderError, match=r"step=000003 cannot be written: No space left on device\. Free some"):
        toy_fit(tmp_path, [AdapterCheckpoint(3)])
    assert saved(tmp_path) == []


def test_export_at_the_end(tmp_path: Path) -> None:
    _, module = toy_fit(tmp_path, [AdapterCheckpoint(50)])
    assert torch.equal(load_file(tmp_path / "adapter" / "adapter_model.safetensors")["delta"], module.model.delta)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "toy/base"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "checkpoints", "metrics.csv"]


@pytest.mark.parametrize(("argument", "value"), [("every_n_steps", 0), ("keep_last", 1)])
def test_arguments_out_of_range(argument: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"AdapterCheckpoint\.{argument} is {value}"):
        AdapterCheckpoint(**{argument: value})


class NumpyState(Callback):
    """Keeps a number of NumPy, which a checkpoint cannot give back, from a step on."""

    def __init__(self, from_step: int) -> None:
        self.from_step, self.step = from_step, 0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        return {"best": np.float64(1.5) if self.step >= self.from_step else 1.5}


@pytest.mark.parametrize(("from_step", "kept"), [(0, []), (4, ["step=000002"])])
def test_a_state_that_cannot_be_read_again_is_refused_when_it_is_saved(
    tmp_path: Path, from_step: int, kept: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"state of callback NumpyState contains numpy\S+scalar.*Return plain Python"):
        toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=2), NumpyState(from_step)])
    assert saved(tmp_path) == kept


class StopAt(Callback):
    """Ends the run early after a step, as early stopping does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step == self.step


class KillAtTheEnd(Callback):
    """Dies when everything has been saved but the run is not yet called finished."""

    def on_fit_end(self, trainer: Trainer, *args: Any) -> None:
        raise Killed


@pytest.mark.parametrize(("stop", "bounds"), [(3, {}), (5, {}), (99, {}), (3, {"max_steps": 9})])
def test_a_run_that_had_ended_does_no_further_step(tmp_path: Path, stop: int, bounds: dict[str, int]) -> None:
    with pytest.raises(Killed):
        toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=2), StopAt(stop), KillAtTheEnd()], **bounds)
    checkpoint = RunFolder(tmp_path).newest_checkpoint()
    trainer, module = toy_fit(tmp_path, [AdapterCheckpoint(every_n_steps=2)], checkpoint=checkpoint, **bounds)
    assert (module.seen, trainer.global_step) == ([], min(stop, 10))
