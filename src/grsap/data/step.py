"""One item of the training loader: one device's part of an optimizer step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from grsap.data.plan import PlannedRow
from grsap.records import Source
from grsap.text.collation import MicroBatch


@dataclass(frozen=True)
class StepBatch:
    """One optimizer step of one device.

    Attributes:
        step: index of the optimizer step, from 0.
        micro_batches: micro-batches of this device; at least one, possibly without targets.
        num_targets: supervised tokens of the step over all devices, by source. Their sum normalises the loss.
        num_tokens: tokens of the step over all devices, without padding.
        rows: planned rows of the step over all devices.
        row_ids: ids of `rows`, in their order.
    """

    step: int
    micro_batches: tuple[MicroBatch, ...]
    num_targets: dict[Source, int]
    num_tokens: int
    rows: tuple[PlannedRow, ...]
    row_ids: tuple[str, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> StepBatch:
        """Return a copy whose tensors are on `device`."""
        moved = tuple(batch.to(device, non_blocking=non_blocking) for batch in self.micro_batches)
        return replace(self, micro_batches=moved)
