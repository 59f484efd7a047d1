"""Placement of the weights: on one device, or a copy on each device with DDP."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer
from torch import Tensor


class Placement:
    """Reduces gradients and sums over the devices of the Trainer's strategy.

    Args:
        trainer: of the run; its strategy must be set up.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.world_size = trainer.world_size
        self._wrapper: Any = trainer.strategy.model

    def exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Return the context of a micro-batch's passes: gradients are reduced only in the last one of a step."""
        if is_last or self.world_size == 1:
            return nullcontext()
        context: AbstractContextManager[None] = self._wrapper.no_sync()
        return context

    def total(self, values: Tensor) -> Tensor:
        """Sum over devices; all ranks must call it.

        Unlike `Strategy.reduce` it has no barrier, which would make the host wait.
        """
        if self.world_size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values


def first_message(message: str | None, world_size: int) -> str | None:
    """Return the message of the lowest rank that has one; all ranks must call it."""
    if world_size == 1:
        return message
    everyone: list[str | None] = [None] * world_size
    dist.all_gather_object(everyone, message)
    return next((each for each in everyone if each is not None), None)
