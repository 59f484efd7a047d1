"""One item of the training loader: one device's work in one optimizer step."""

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
        step: optimizer step, from 0.
        micro_batches: this device's; at least one, which may hold no target.
        num_targets: supervised tokens of the step over all devices, by source. Their sum is N in the loss.
        num_tokens: real tokens of the step over all devices.
        rows: the plan of the step over all devices.
        row_ids: their ids, in the order of `rows`.
    """

    step: int
    micro_batches: tuple[MicroBatch, ...]
    num_targets: dict[Source, int]
    num_tokens: int
    rows: tuple[PlannedRow, ...]
    row_ids: tuple[str, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> StepBatch:
        """The same on another device."""
        moved = tuple(batch.to(device, non_blocking=non_blocking) for batch in self.micro_batches)
        return replace(self, micro_batches=moved)
