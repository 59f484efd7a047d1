"""Lightning's loop counters as a function of the optimizer step, so that a resumed run cannot miscount epochs.

Lightning saves its counters in checkpoints and, on resume, guesses from their differences where in its loops the
checkpoint was written. That guess is wrong for a checkpoint of the last step of an epoch: the epoch that follows is
never counted as begun, later checkpoints inherit the error, and a second resume repeats the epoch. Here the counters of
a checkpoint are never read: they are computed from the one number that decides everything else too.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

_FIELDS = ("ready", "started", "processed", "completed")


def fit_loop_state(trainer: Trainer, step: int, steps_per_epoch: int) -> dict[str, Any]:
    """The state of `trainer.fit_loop` for a run that is about to do step `step`.

    Args:
        trainer: of the run, before its loops are restored.
        step: optimizer steps done, at least 1.
        steps_per_epoch: batches of an epoch under `trainer.limit_train_batches`, at least 1.

    Returns:
        What `fit_loop.load_state_dict` takes.
    """
    epoch, done = divmod(step, steps_per_epoch)
    # With `max_steps` Lightning restarts its loops at the start of an epoch too.
    restarts = done > 0 or trainer.max_steps != -1
    state = trainer.fit_loop.state_dict()
    for key in ("total", "current"):
        state["epoch_progress"][key] = _progress(epoch, begun=done > 0)
        state["epoch_loop.manual_optimization.optim_step_progress"][key] = {"ready": step, "completed": step}
    # A restarting loop takes the last batch as processed, not completed: it completes it, and counts it as logged.
    batches = state["epoch_loop.batch_progress"]
    batches["total"] = _progress(step - restarts, begun=restarts, processed=True)
    batches["current"] = (
        _progress((done or steps_per_epoch) - 1, begun=True, processed=True) if restarts else _progress(0)
    )
    batches["is_last_batch"] = False  # of an epoch that is over, Lightning would complete a second one
    state["epoch_loop.state_dict"] = {"_batches_that_stepped": step - restarts}
    return state


def _progress(completed: int, *, begun: bool = False, processed: bool = False) -> dict[str, int]:
    """Counters of a loop that completed so many rounds, and has begun, or also processed, one more."""
    counts = (completed + begun, completed + begun, completed + (begun and processed), completed)
    return dict(zip(_FIELDS, counts, strict=True))
