"""Losses over the supervised tokens of a micro-batch, without ever holding all their logits.

The output layer and the losses run chunk by chunk, and each chunk's gradient is taken at once and kept in place of its
logits (as in Liger's fused linear cross-entropy, arXiv 2410.10989): memory for logits is chunk_size x V x 4 bytes
whatever the length of the batch, and nothing is computed twice. Where the output layer is trained itself, its chunks
are recomputed in the backward pass instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from grsap.objectives.base import Head, Objective, TokenChunk
from grsap.records import Source
from grsap.text.collation import MicroBatch


def objective_sums(
    hidden: Tensor,
    head: Head,
    batch: MicroBatch,
    objectives: Sequence[Objective],
    reference_hidden: Tensor | None = None,
    chunk_size: int = 1024,
    head_is_trained: bool = False,
) -> dict[str, Tensor]:
    """Sum of each objective over this micro-batch's tokens of its source.

    Args:
        hidden: (T, H) hidden states at `batch.target_positions`.
        head: the output layer.
        batch: the micro-batch; its targets are ordered by source.
        objectives: the terms of the loss.
        reference_hidden: (T, H) of the base model; rows of sources that need none are not read.
        chunk_size: tokens a chunk.
        head_is_trained: the output layer's own weights need a gradient.

    Returns:
        name -> () float32 sum; an objective without tokens gives 0 (still attached to `hidden`).
    """
    # Zero times a sum keeps every parameter in the graph when a device has no target in this step.
    nothing = hidden.sum().float() * 0.0
    if head_is_trained and not len(hidden):
        nothing = nothing + head(hidden.new_zeros(1, hidden.shape[-1])).sum().float() * 0.0
    sums = {objective.name: nothing for objective in objectives}
    sources: list[Source] = list(dict.fromkeys(objective.source for objective in objectives))
    for source in sources:
        terms = [objective for objective in objectives if objective.source == source]
        wanted = batch.target_slice(source)
        for start in range(wanted.start, wanted.stop, chunk_size):
            part = slice(start, min(start + chunk_size, wanted.stop))
            run = _losses(head, batch, part, terms, reference_hidden)
            values: tuple[Tensor, ...]
            if head_is_trained and torch.is_grad_enabled():
                values = checkpoint(run, hidden[part], use_reentrant=False)
            else:
                values = _WithGradient.apply(run, hidden[part])
            for term, value in zip(terms, values, strict=True):
                sums[term.name] = sums[term.name] + value
    return sums


def _losses(
    head: Head, batch: MicroBatch, part: slice, terms: Sequence[Objective], reference_hidden: Tensor | None
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """From the hidden states of one chunk to the sums of `terms` over it."""
    reference = reference_hidden[part] if reference_hidden is not None else None

    def run(states: Tensor) -> tuple[Tensor, ...]:
        chunk = TokenChunk(
            states, head, batch.target_ids[part], batch.target_rows[part], batch.target_offsets[part], reference
        )
        return tuple(term.token_losses(chunk).sum() for term in terms)

    return run


class _WithGradient(torch.autograd.Function):
    """Sums whose gradient by the hidden states is taken in the forward pass, one (T, H) tensor a sum."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], tuple[Tensor, ...]], hidden: Tensor) -> tuple[Tensor, ...]:
        if not ctx.needs_input_grad[1]:
            return run(hidden)
        states = hidden.detach().requires_grad_()
        with torch.enable_grad():
            values = run(states)
        gradients = [
            torch.autograd.grad(
                value, states, retain_graph=number < len(values), allow_unused=True, materialize_grads=True
            )[0]
            for number, value in enumerate(values, 1)
        ]
        ctx.save_for_backward(*gradients)
        return tuple(value.detach() for value in values)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor]:
        products = [grad * factor for grad, factor in zip(ctx.saved_tensors, upstream, strict=True)]
        return None, sum(products[1:], products[0]).to(products[0].dtype)
