"""Collation of rows into micro-batches, packed or padded.

Shapes: B rows of the tensor (1 when packed), L positions, T supervised tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from grsap.records import Source
from grsap.text.encoding import EncodedRow

SOURCES: tuple[Source, ...] = ("task", "replay")
"""Order of the sources within a micro-batch."""


class RowSpan(NamedTuple):
    """Position of a row: `input_ids[batch_index, start : start + length]`."""

    batch_index: int
    start: int
    length: int


@dataclass(frozen=True)
class MicroBatch:
    """Input of one forward pass.

    Attributes:
        input_ids: (B, L) int64.
        position_ids: (B, L) int64; they restart at 0 with each row.
        attention_mask: (B, L) int64 when padded; None when packed, where `position_ids` separate the rows.
        target_positions: (T,) int64, flat index into B x L of the position whose logits predict the target.
        target_ids: (T,) int64, the supervised tokens.
        target_rows: (T,) int64, index into `row_ids`.
        target_offsets: (T,) int64, position of the token in its response, from 0.
        row_ids, sources, spans: one entry per row. Task rows precede replay rows, and targets are in the order of rows,
            so that each source's targets are one slice.
        num_targets: supervised tokens of each row, known without a device sync.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor | None
    target_positions: Tensor
    target_ids: Tensor
    target_rows: Tensor
    target_offsets: Tensor
    row_ids: tuple[str, ...]
    sources: tuple[Source, ...]
    spans: tuple[RowSpan, ...]
    num_targets: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens without padding."""
        return sum(span.length for span in self.spans)

    def target_slice(self, source: Source) -> slice:
        """Return the slice of one source's targets."""
        counts = [
            sum(num for num, row in zip(self.num_targets, self.sources, strict=True) if row == name) for name in SOURCES
        ]
        place = SOURCES.index(source)
        return slice(sum(counts[:place]), sum(counts[: place + 1]))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> MicroBatch:
        """Return a copy on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=non_blocking)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


def collate_packed(rows: Sequence[EncodedRow]) -> MicroBatch:
    """Concatenate rows, task before replay: B = 1, L = the sum of their lengths, `attention_mask` None.

    `position_ids` separate the rows, which transformers supports only with `use_cache=False`. Without rows, return one
    token of id 0 without a target, for a device that has no rows in a step.
    """
    rows = _by_source(rows)
    starts = np.cumsum([0, *(row.length for row in rows)])
    spans = tuple(RowSpan(0, int(start), row.length) for start, row in zip(starts, rows, strict=False))
    ids = np.concatenate([row.input_ids for row in rows]) if rows else np.zeros(1, dtype=np.int32)
    positions = np.concatenate([np.arange(row.length) for row in rows]) if rows else np.zeros(1, dtype=np.int64)
    return _micro_batch(rows, spans, ids[None], positions[None], None)


def collate_padded(rows: Sequence[EncodedRow], pad_token_id: int) -> MicroBatch:
    """Pad rows on the right, task before replay: B = number of rows, L = the longest.

    Without rows, return one token of id `pad_token_id` without a target. Padding is never a target, even if the
    tokenizer pads with its end of sequence, because targets are positions.
    """
    rows = _by_source(rows)
    length = max((row.length for row in rows), default=1)
    ids = np.full((max(len(rows), 1), length), pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : row.length] = row.input_ids
        mask[number, : row.length] = 1
    if not rows:
        mask[0, 0] = 1
    spans = tuple(RowSpan(number, 0, row.length) for number, row in enumerate(rows))
    return _micro_batch(rows, spans, ids, np.tile(np.arange(length), (len(ids), 1)), mask)


def _by_source(rows: Sequence[EncodedRow]) -> list[EncodedRow]:
    return sorted(rows, key=lambda row: SOURCES.index(row.source))


def _micro_batch(
    rows: Sequence[EncodedRow],
    spans: tuple[RowSpan, ...],
    input_ids: npt.NDArray[np.integer],
    position_ids: npt.NDArray[np.int64],
    attention_mask: npt.NDArray[np.int64] | None,
) -> MicroBatch:
    width = input_ids.shape[1]
    positions, numbers, offsets, counts = [], [], [], []
    for number, (row, span) in enumerate(zip(rows, spans, strict=True)):
        targets = np.flatnonzero(row.supervised[1:]) + 1
        counts.append(len(targets))
        positions.append(span.batch_index * width + span.start + targets - 1)
        numbers.append(np.full(len(targets), number))
        offsets.append(_offsets(targets))
    flat = _concatenate(positions)
    return MicroBatch(
        input_ids=torch.from_numpy(input_ids.astype(np.int64)),
        position_ids=torch.from_numpy(position_ids.astype(np.int64)),
        attention_mask=None if attention_mask is None else torch.from_numpy(attention_mask),
        target_positions=torch.from_numpy(flat),
        target_ids=torch.from_numpy(input_ids.reshape(-1)[flat + 1].astype(np.int64)),
        target_rows=torch.from_numpy(_concatenate(numbers)),
        target_offsets=torch.from_numpy(_concatenate(offsets)),
        row_ids=tuple(row.id for row in rows),
        sources=tuple(row.source for row in rows),
        spans=spans,
        num_targets=tuple(counts),
    )


def _offsets(targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the position of each target in its assistant turn, which is a run of consecutive targets."""
    place = np.arange(len(targets))
    begins = np.diff(targets, prepend=-1) > 1
    return place - np.maximum.accumulate(np.where(begins, place, 0))


def _concatenate(parts: Sequence[npt.NDArray[np.integer]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)
