"""Where the weights are: on one device, or a copy on each device of DDP."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer
from torch import Tensor


class Placement:
    """What a step needs to know of the Trainer's strategy: when gradients are exchanged, and sums over devices.

    Args:
        trainer: of the run, whose strategy is set up.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.world_size = trainer.world_size
        self._wrapper: Any = trainer.strategy.model

    def exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Return the context of a micro-batch's passes: devices exchange gradients with the last one of a step only."""
        if is_last or self.world_size == 1:
            return nullcontext()
        context: AbstractContextManager[None] = self._wrapper.no_sync()
        return context

    def total(self, values: Tensor) -> Tensor:
        """Sum over devices; all ranks must call it.

        `Strategy.reduce` does the same behind a barrier, for which the host waits.
        """
        if self.world_size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values


def told_by_any(message: str | None, world_size: int) -> str | None:
    """Return the first message of any rank; all ranks must call it."""
    if world_size == 1:
        return message
    everyone: list[str | None] = [None] * world_size
    dist.all_gather_object(everyone, message)
    return next((each for each in everyone if each is not None), None)
