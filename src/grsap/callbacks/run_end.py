"""Describe when a run will end, and why it ended."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from grsap.callbacks.lookup import callbacks_of
from grsap.progress import duration
from grsap.training.run_length import bound_of, limited_steps, planned_steps, total_steps


def expected_end(trainer: Trainer, steps_per_epoch: int) -> str:
    """Return a line that names after how many steps and by which setting a run ends, and what may end it earlier."""
    per_epoch = limited_steps(trainer, steps_per_epoch)
    bound, steps = bound_of(trainer, per_epoch), planned_steps(trainer, per_epoch)
    of_epoch = f"an epoch has {per_epoch:,}"
    if bound is None:
        line = f"This run has no maximum number of steps; {of_epoch}"
    elif bound == "max_steps":
        line = f"This run ends after {_steps(steps)}: trainer.max_steps; {of_epoch}"
    else:
        line = f"This run ends after {_steps(steps)}: trainer.max_epochs is {trainer.max_epochs}, and {of_epoch}"
        if trainer.max_steps > 0:
            line += f"; trainer.max_steps {trainer.max_steps:,} is not reached"
    earlier = [condition for callback in callbacks_of(trainer) if (condition := _ends_early(callback))]
    return f"{line}. It may end earlier: {', '.join(earlier)}." if earlier else f"{line}."


def stop_reason(trainer: Trainer) -> str:
    """Return why a run ended: `max_steps`, `max_epochs`, `max_time`, or a sentence that begins with the callback.

    A check that restored earlier weights is named even if the run had its full length.
    """
    callbacks = callbacks_of(trainer)
    for callback in callbacks:
        reason = getattr(callback, "stop_reason", None)
        if isinstance(reason, str) and reason:
            return reason
    batches = trainer.num_training_batches
    total = total_steps(trainer)
    if total is not None and trainer.global_step >= total:
        return bound_of(trainer, batches if isinstance(batches, int) else None) or "max_epochs"
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and (reason := _early_stopping(callback)):
            return f"{type(callback).__name__}: {reason}"
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) <= 0:
            return "max_time"
    return "a callback set trainer.should_stop"


def _steps(num: int | None) -> str:
    return "1 step" if num == 1 else f"{num or 0:,} steps"


def _ends_early(callback: Any) -> str | None:
    """Return the condition under which a callback ends a run; None if it does not."""
    if isinstance(callback, Timer):
        left = callback.time_remaining()
        return None if left is None else f"trainer.max_time {duration(left)}"
    if isinstance(callback, EarlyStopping):
        return f"{type(callback).__name__} on {callback.monitor}"
    if getattr(callback, "action", "warn") != "warn":
        bound = getattr(callback, "max_harmfulness_rate", None)
        return f"{type(callback).__name__} above max_harmfulness_rate {bound}"
    return None


def _early_stopping(callback: EarlyStopping) -> str | None:
    """Return why early stopping ended the run; None if it did not."""
    if callback.stopping_reason == EarlyStoppingReason.NOT_STOPPED:
        return None
    message = (callback.stopping_reason_message or "").removesuffix("Signaling Trainer to stop.").strip()
    return message or callback.stopping_reason.name.lower()
