"""Generate and judge answers on all ranks, and all-gather them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer

from grsap.errors import GrsapError
from grsap.generation.base import Generation, GenerationRequest, Progress, SamplingSettings
from grsap.generation.model_generator import ModelGenerator

MarkedAnswer = dict[str, Any]
"""An answer as plain values: `id`, `response`, `finish_reason`, and its scores or verdicts."""

Mark = Callable[[Sequence[Generation]], list[MarkedAnswer]]


def deal(batches: Sequence[list[int]], rank: int, world_size: int) -> list[list[int]]:
    """Return the batches of one rank: every `world_size`-th, which balances lengths."""
    return list(batches[rank::world_size])


def answer_all(
    trainer: Trainer,
    generator: ModelGenerator,
    requests: Sequence[GenerationRequest],
    settings: SamplingSettings,
    mark: Mark,
    progress: Progress,
) -> list[MarkedAnswer]:
    """Return one judged answer per request, in order, on all ranks. A collective: all ranks must call it.

    Batches are formed over the whole list before they are distributed, so that answers do not depend on the number of
    devices. A rank may have no batch.

    Raises:
        GrsapError: a rank failed; raised on all ranks.
    """
    rank, world_size = trainer.global_rank, trainer.world_size
    mine = deal(generator.batches(requests, settings), rank, world_size)
    marked: list[MarkedAnswer] = []
    error: Exception | None = None
    try:
        batches = [[requests[index] for index in batch] for batch in mine]
        marked = mark(_generate(batches, generator, settings, progress))
    except Exception as caught:
        if world_size == 1:
            raise
        error = caught
    by_id = {row["id"]: row for row in _gather(marked, error, world_size)}
    return [by_id[request.id] for request in requests]


def _generate(
    batches: Sequence[list[GenerationRequest]],
    generator: ModelGenerator,
    settings: SamplingSettings,
    progress: Progress,
) -> list[Generation]:
    total = sum(len(batch) for batch in batches)
    generations: list[Generation] = []

    def report(num_done: int, _: int) -> None:
        progress(len(generations) + num_done, total)

    for batch in batches:
        generations += generator.generate(batch, settings, report)
    return generations


def _gather(rows: list[MarkedAnswer], error: Exception | None, world_size: int) -> list[MarkedAnswer]:
    if world_size == 1:
        return rows
    everyone: list[Any] = [None] * world_size
    dist.all_gather_object(everyone, (rows, None if error is None else f"{type(error).__name__}: {error}"))
    if error is not None:
        raise error
    for rank, (_, message) in enumerate(everyone):
        if message is not None:
            raise GrsapError(f"A check failed on rank {rank}: {message}")
    return [row for rows_of_rank, _ in everyone for row in rows_of_rank]
