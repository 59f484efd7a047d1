"""Where a run stands in its length."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer

from grsap.errors import RunFolderError
from grsap.training.run_length import planned_steps


def total_steps(trainer: Trainer) -> int | None:
    """Optimizer steps of the whole run; one item of the training loader is one step. None where nothing bounds it."""
    batches = trainer.num_training_batches
    return planned_steps(trainer, batches if isinstance(batches, int) else None)


def is_last_step(trainer: Trainer) -> bool:
    """Whether the run ends with the step that was just done."""
    total = total_steps(trainer)
    return trainer.should_stop or (total is not None and trainer.global_step >= total)


def check_same_step(trainer: Trainer, step: int) -> None:
    """See that all ranks resume from the same step; all of them must enter.

    Raises:
        RunFolderError: they do not, on every rank alike.
    """
    if trainer.world_size == 1:
        return
    given = torch.tensor([step, -step], dtype=torch.int64, device=trainer.strategy.root_device)
    last, first = trainer.strategy.reduce(given, reduce_op="max").tolist()
    if last != -first:
        raise RunFolderError(
            f"some processes found the checkpoint of step {-first} to be the newest, others that of step {last}",
            "See that all machines have the same run_dir, and give the same command again",
        )
