"""The length of a run. Lightning's own estimate ignores the loader's state on resume, so it is not used."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer

from grsap.errors import RunFolderError


def limited_steps(trainer: Trainer, steps_per_epoch: int) -> int:
    """Return the optimizer steps of an epoch under `trainer.limit_train_batches`, an int or a fraction."""
    limit = trainer.limit_train_batches
    return min(steps_per_epoch, limit) if isinstance(limit, int) else int(steps_per_epoch * limit)


def planned_steps(trainer: Trainer, steps_per_epoch: int | None) -> int | None:
    """Return the optimizer steps of the whole run; None if neither `max_epochs` nor `max_steps` limits it.

    Args:
        trainer: of the run; -1 means no limit.
        steps_per_epoch: None if an epoch has no end.
    """
    bounds = []
    if steps_per_epoch is not None and trainer.max_epochs is not None and trainer.max_epochs >= 0:
        bounds.append(trainer.max_epochs * steps_per_epoch)
    if trainer.max_steps >= 0:
        bounds.append(trainer.max_steps)
    return min(bounds, default=None)


def bound_of(trainer: Trainer, steps_per_epoch: int | None) -> str | None:
    """Return the setting that limits the steps of the run: `max_steps`, `max_epochs`, or None."""
    steps = planned_steps(trainer, steps_per_epoch)
    if steps is None:
        return None
    return "max_steps" if steps == trainer.max_steps else "max_epochs"


def total_steps(trainer: Trainer) -> int | None:
    """Return the optimizer steps of the whole run, one per batch of the loader; None if no setting limits it."""
    batches = trainer.num_training_batches
    return planned_steps(trainer, batches if isinstance(batches, int) else None)


def is_last_step(trainer: Trainer) -> bool:
    """Return whether the step that was just done is the last one."""
    total = total_steps(trainer)
    return trainer.should_stop or (total is not None and trainer.global_step >= total)


def check_same_step(trainer: Trainer, step: int) -> None:
    """Check that all ranks resume from the same step. A collective: all ranks must call it.

    Raises:
        RunFolderError: they do not; raised on all ranks.
    """
    if trainer.world_size == 1:
        return
    given = torch.tensor([step, -step], dtype=torch.int64, device=trainer.strategy.root_device)
    last, first = trainer.strategy.reduce(given, reduce_op="max").tolist()
    if last != -first:
        raise RunFolderError(
            f"some processes found the checkpoint of step {-first} to be the newest, others that of step {last}",
            "Check that run_dir is the same folder on all machines, and give the same command again",
        )
