"""Where a run stands in its length."""

from __future__ import annotations

from lightning.pytorch import Trainer

from grsap.training.run_length import planned_steps


def total_steps(trainer: Trainer) -> int | None:
    """Optimizer steps of the whole run; one item of the training loader is one step. None where nothing bounds it."""
    batches = trainer.num_training_batches
    return planned_steps(trainer, batches if isinstance(batches, int) else None)


def is_last_step(trainer: Trainer) -> bool:
    """Whether the run ends with the step that was just done."""
    total = total_steps(trainer)
    return trainer.should_stop or (total is not None and trainer.global_step >= total)
