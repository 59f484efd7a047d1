"""Choose the checkpoint for `grsap fit --resume`, and check whether a finished run can be extended; write nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from grsap.errors import RunFolderError
from grsap.runs.folder import LENGTH_BOUNDS, RunFolder, RunStatus, checkpoint_step
from grsap.training.run_length import limited_steps, planned_steps

if TYPE_CHECKING:
    from grsap.commands.settings import RunSettings


def resume_point(
    folder: RunFolder, config: str, status: RunStatus, settings: RunSettings, say: Callable[[str], None]
) -> Path | None:
    """Return the checkpoint to resume from; print its name and the changed settings, which apply from now on.

    Args:
        folder: of the run.
        config: of this call, as YAML.
        status: of the folder.
        settings: of this call, with the data set up.
        say: prints a line.

    Raises:
        RunFolderError: there is nothing to extend, the optimizer class has changed, or a later checkpoint would have to
            be moved out of a folder that does not belong to the run.
    """
    checkpoint = folder.newest_checkpoint(say)
    step = 0 if checkpoint is None else checkpoint_step(checkpoint) or 0
    if status == "extended":
        _check_extension(folder, checkpoint, settings)
    later = [path for path in folder.checkpoints() if (checkpoint_step(path) or 0) > step]
    if later and folder.checkpoints_dir.is_symlink():
        raise RunFolderError(
            f"{later[0]} cannot be used, and {folder.checkpoints_dir} is a link to {folder.checkpoints_dir.resolve()}, "
            "where another run may need it",
            "Move it away, then give the same command again",
        )
    differences = folder.differences(config)
    optimizer = next((line for line in differences or () if line.startswith("model.optimizer.class_path: ")), None)
    if optimizer is not None and checkpoint is not None:
        raise RunFolderError(
            f"{optimizer}: the saved optimizer state does not fit another class",
            "Restore the setting, or begin a new run with another --run_dir",
        )
    if differences is None and status != "new":
        say(f"{folder.config} is missing or not YAML: settings that changed since the run began cannot be listed.")
    for difference in differences or ():
        say(f"Changed since the run began, and used from now on: {difference}")
    if status == "extended" and type(settings.model.schedule).__name__ != "ConstantRate":
        say(
            "The learning rate depends on the length of the run, and the steps so far used the rates of the shorter "
            "run: the result differs from that of a run that had the new length from the start."
        )
    say("No checkpoint yet: starting from step 0." if checkpoint is None else f"Resuming from {checkpoint}.")
    return checkpoint


def _check_extension(folder: RunFolder, checkpoint: Path | None, settings: RunSettings) -> None:
    """Check that a finished run was ended by its length alone, and that its new length is greater."""
    summary = folder.read_summary() or {}
    reason, done = summary.get("stop_reason"), int(summary.get("num_steps") or 0)
    if reason is not None and reason not in LENGTH_BOUNDS:
        raise RunFolderError(
            f"the run in {folder.path} was stopped after step {done} ({reason}): it cannot be extended",
            "Choose another folder with --run_dir",
        )
    trainer, data = settings.trainer, settings.datamodule
    planned = planned_steps(trainer, limited_steps(trainer, data.steps_per_epoch))
    if planned is not None and planned <= done:
        raise RunFolderError(
            f"run_dir {folder.path} holds a finished run of {done} steps, but these settings end after {planned}",
            "Raise trainer.max_epochs or trainer.max_steps, or choose another folder with --run_dir",
        )
    if checkpoint is None:
        raise RunFolderError(
            f"the finished run in {folder.path} has no checkpoint left to extend it from",
            "Choose another folder with --run_dir",
        )
