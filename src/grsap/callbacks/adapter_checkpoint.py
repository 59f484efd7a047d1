"""Write atomic checkpoints of the trainable weights between steps."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from pickle import PicklingError
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from grsap.callbacks.check_results import best_step, checked_steps
from grsap.callbacks.model_export import export_model, write_adapter
from grsap.callbacks.read_back import check_readable, check_writable
from grsap.compat import fit_loop_state, validates_after_step
from grsap.console import say
from grsap.disk import writing
from grsap.errors import ConfigError
from grsap.files import publish_dir, set_aside
from grsap.runs.folder import RunFolder, checkpoint_step, seal_checkpoint
from grsap.runs.model_card import write_model_card
from grsap.training.metrics_log import MetricsLog
from grsap.training.run_length import check_same_step, is_last_step, limited_steps

_MAX_AGE_S = 900.0
_MAX_AGE_IN_SAVES = 20.0
_STEPS_OF_AGREEMENT = 10


class AdapterCheckpoint(Checkpoint):
    """Writes `checkpoints/step=000040/` in the run folder: what a resumed run needs, and the adapter in PEFT's format.

    A checkpoint holds `trainer.ckpt` (trainable parameters, optimizer, loops, the states of callbacks and data), the
    adapter's `adapter_model.safetensors` and `adapter_config.json`, and `state.json` with the hashes of the other
    files, by which damage is detected. It gets its name when all files are on disk. It contains no base weights.

    Checkpoints are written at multiples of `every_n_steps`, after checks, on a signal, and at the end: after the step
    and after a validation and end of epoch that belong to it, so that a resumed run does not repeat them. That of the
    last step is written after the final checks: a run killed in them resumes from the checkpoint before and repeats
    them.

    At the end of fit the adapter, or the whole model after full fine-tuning, is written to `adapter/` with a model card
    (`README.md`) that describes training and results. An edited card is never overwritten.

    Args:
        every_n_steps: optimizer steps between checkpoints; None: at each check, at the end of each epoch, and when the
            last one is older than a quarter of an hour and than 20 times the time that it took to write.
        keep_last: number of newest checkpoints to keep, at least 2, because the newest may be damaged.
        save_best: also write a checkpoint at each check, and keep the one with the highest task score whose
            harmfulness rate is within the check's `max_harmfulness_rate`.

    Attributes:
        extends: whether this run extends a finished one, so that an early stop of the earlier run is ignored.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, every_n_steps: int | None = None, keep_last: int = 2, save_best: bool = True) -> None:
        super().__init__()
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"AdapterCheckpoint.every_n_steps is {every_n_steps}", "Give at least 1, or null")
        if keep_last < 2:
            raise ConfigError(
                f"AdapterCheckpoint.keep_last is {keep_last}", "Give at least 2: the newest one may be damaged"
            )
        self.every_n_steps = every_n_steps
        self.keep_last = keep_last
        self.save_best = save_best
        self.best_checkpoint: Path | None = None
        self.last_saved_step: int | None = None
        self._saved_at, self._save_seconds = 0.0, 0.0
        self._requested = False
        self._is_pending = False
        self._resumed_step = 0
        self._written: set[int] = set()
        self.extends = False

    @property
    def best_model_path(self) -> str:
        """Path of the best checkpoint's trainer state; empty if there is none. The name is Lightning's."""
        return "" if self.best_checkpoint is None else str(self.best_checkpoint / "trainer.ckpt")

    def request_save(self) -> None:
        """Request a checkpoint at the end of the current step; all ranks must request it in the same step."""
        self._requested = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the step to 0; loading a checkpoint sets it."""
        self._resumed_step, self._written = 0, set()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save whether a callback ended the run early, so that a resumed run trains no further."""
        checkpoint["should_stop"] = trainer.should_stop

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Read the step to resume from, and replace the saved loop counters by ones that are computed from it."""
        step = int(checkpoint["global_step"])
        self._resumed_step = self.last_saved_step = step
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        checkpoint["loops"]["fit_loop"] = fit_loop_state(trainer, step, limited_steps(trainer, data.steps_per_epoch))
        trainer.should_stop = bool(checkpoint.get("should_stop")) and not self.extends

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that all ranks resume from the same step, find the best checkpoint, and drop later lines of the log.

        Lightning does not call `on_train_start` if no step is left, and the summary names the best checkpoint then too.

        Raises:
            RunFolderError: the ranks found different checkpoints.
        """
        check_same_step(trainer, self._resumed_step)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsLog):
                logger.resume_after(self._resumed_step)
        self._update_best(trainer, RunFolder(trainer.default_root_dir), set())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move checkpoints of later steps, which are repeated, aside.

        They are not deleted, because they may belong to another run, or may have been unreadable only for a while.
        """
        folder = RunFolder(trainer.default_root_dir)
        later = [path for path in folder.checkpoints() if (checkpoint_step(path) or 0) > self._resumed_step]
        if later and trainer.is_global_zero:
            names = ", ".join(path.name for path in later)
            place = set_aside(later)
            say(f"Checkpoints of steps that are repeated were moved to {place}: {names}.")
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the steps of the checkpoints that this run has written; it deletes no others."""
        return {"steps": sorted(self._written)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._written = set(state_dict["steps"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save if a checkpoint is still pending, as after a validation without rows."""
        self._save_pending(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due, unless a validation or the end of the epoch comes first."""
        self._is_pending = self._is_due(trainer)
        if not trainer.is_last_batch and not validates_after_step(trainer):
            self._save_pending(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is due, unless the end of the epoch comes first."""
        if not trainer.is_last_batch:
            self._save_pending(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is due. Lightning calls checkpoint callbacks last."""
        self._save_pending(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export the model and write the last checkpoint."""
        if trainer.is_global_zero:
            export_model(pl_module, RunFolder(trainer.default_root_dir).adapter)
        trainer.strategy.barrier("AdapterCheckpoint.export")
        self.save(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Delete old checkpoints and write the model card.

        This is the only hook of a resumed run that was killed after its last save. Lightning calls checkpoint callbacks
        last, so summary and manifest are complete by now.
        """
        if trainer.is_global_zero:
            folder = RunFolder(trainer.default_root_dir)
            self._delete_old(folder)
            write_model_card(folder)

    def save(self, trainer: Trainer, pl_module: LightningModule) -> Path:
        """Write the checkpoint of the current step and delete old ones. A collective: all ranks must call it.

        Raises:
            RunFolderError: the disk is full or the folder cannot be written.
            ConfigError: a callback's state cannot be loaded from a checkpoint.
        """
        started = time.monotonic()
        folder = RunFolder(trainer.default_root_dir)
        step = trainer.global_step
        path = folder.checkpoint_path(step)
        temporary = path.with_name(f".{path.name}.0.tmp")  # equal on all ranks: some strategies write from all
        self._requested = self._is_pending = False
        self.last_saved_step = step
        is_written = step in self._written
        self._written.add(step)
        with writing(path):
            try:
                if trainer.is_global_zero:
                    shutil.rmtree(temporary, ignore_errors=True)
                    temporary.mkdir(parents=True)
                try:
                    trainer.save_checkpoint(temporary / "trainer.ckpt", weights_only=False)
                except (AttributeError, TypeError, PicklingError) as error:  # what pickle raises
                    check_writable(error, trainer)
                    raise
                if trainer.is_global_zero:
                    check_readable(temporary / "trainer.ckpt", trainer)
                    write_adapter(pl_module, temporary)
                    seal_checkpoint(temporary, step)
                    if path.exists() and not is_written:
                        set_aside([path])
                    publish_dir(temporary, path)
            finally:
                if trainer.is_global_zero:
                    shutil.rmtree(temporary, ignore_errors=True)
        self._update_best(trainer, folder, {step})
        if trainer.is_global_zero:
            self._delete_old(folder)
        trainer.strategy.barrier("AdapterCheckpoint.save")
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started
        return path

    def _save_pending(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is pending; that of the last step is written at the end of the run."""
        if self._is_pending and not is_last_step(trainer):
            self.save(trainer, pl_module)
        self._is_pending = False

    def _is_due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        if self.last_saved_step == step:
            return False
        if self.every_n_steps is None:
            periodic = trainer.is_last_batch or self._is_overdue(trainer)
        else:
            periodic = step % self.every_n_steps == 0
        checked = (self.save_best or self.every_n_steps is None) and step in checked_steps(trainer)
        return self._requested or periodic or checked

    def _is_overdue(self, trainer: Trainer) -> bool:
        """Whether the last checkpoint is too old. Equal on all ranks, which communicate only at some steps."""
        age = time.monotonic() - self._saved_at
        is_old = age > max(_MAX_AGE_S, _MAX_AGE_IN_SAVES * self._save_seconds)
        if trainer.world_size == 1:
            return is_old
        return trainer.global_step % _STEPS_OF_AGREEMENT == 0 and bool(trainer.strategy.broadcast(is_old))

    def _update_best(self, trainer: Trainer, folder: RunFolder, just_saved: set[int]) -> None:
        if not self.save_best:
            return
        # Other ranks may list the folder before rank 0 renames the new checkpoint, so its step is passed.
        steps = {step for path in folder.checkpoints() if (step := checkpoint_step(path)) is not None}
        best = best_step(trainer, steps | just_saved)
        self.best_checkpoint = None if best is None else folder.checkpoint_path(best)

    def _delete_old(self, folder: RunFolder) -> None:
        mine = [path for path in folder.checkpoints() if checkpoint_step(path) in self._written]
        for path in mine[: -self.keep_last]:
            if path != self.best_checkpoint and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
