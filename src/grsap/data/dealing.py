"""Assignment of a step's rows to devices by length, and packing into micro-batches."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grsap.data.plan import PlannedRow
from grsap.data.step import StepBatch
from grsap.records import Source
from grsap.text.collation import SOURCES, MicroBatch, collate_packed, collate_padded
from grsap.text.encoding import EncodedRow
from grsap.text.packing import pack, pad_groups


def balance_tokens(lengths: Sequence[int], world_size: int) -> list[list[int]]:
    """Assign rows to devices so that each gets about the same number of tokens.

    Rows are assigned in descending length, each to the device with the fewest tokens so far (ties: the lowest rank).
    The greatest load is at most 4/3 of the optimum (Graham, 1969).

    Args:
        lengths: tokens of each row.
        world_size: number of devices.

    Returns:
        Row indices of each rank, ascending.
    """
    loads = [(0, rank) for rank in range(world_size)]
    assigned: list[list[int]] = [[] for _ in range(world_size)]
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        load, rank = heapq.heappop(loads)
        assigned[rank].append(index)
        heapq.heappush(loads, (load + lengths[index], rank))
    return [sorted(indices) for indices in assigned]


@dataclass(frozen=True)
class StepBuilder:
    """Build `StepBatch`es. Loader workers hold a pickled copy, so it references neither trainer nor schedule.

    Attributes:
        rows: encoded rows of each source.
        max_tokens: upper limit of tokens per micro-batch, padding included.
        packed: concatenate the rows of a micro-batch; otherwise pad each to the longest.
        pad_token_id: padding token.
    """

    rows: Mapping[Source, Sequence[EncodedRow]]
    max_tokens: int
    packed: bool
    pad_token_id: int

    def build(self, step: int, planned: Sequence[PlannedRow], rank: int, world_size: int) -> StepBatch:
        """Build the batch of device `rank`, a pure function of the arguments.

        A rank without rows gets a micro-batch without targets, because DDP requires a backward pass on all ranks.
        """
        rows = [self.rows[row.source][row.index] for row in planned]
        indices = balance_tokens([row.length for row in rows], world_size)[rank]
        mine = [rows[index] for index in indices] or [_without_targets(min(rows, key=lambda row: row.length))]
        num_targets = {source: sum(row.num_targets for row in rows if row.source == source) for source in SOURCES}
        return StepBatch(
            step=step,
            micro_batches=tuple(self._micro_batches(mine)),
            num_targets=num_targets,
            num_tokens=sum(row.length for row in rows),
            rows=tuple(planned),
            row_ids=tuple(row.id for row in rows),
        )

    def _micro_batches(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        lengths = [row.length for row in rows]
        groups = (pack if self.packed else pad_groups)(lengths, self.max_tokens)
        chosen = [[rows[index] for index in group] for group in groups]
        if self.packed:
            return [collate_packed(group) for group in chosen]
        return [collate_padded(group, self.pad_token_id) for group in chosen]


def _without_targets(row: EncodedRow) -> EncodedRow:
    return replace(row, supervised=np.zeros_like(row.supervised))
