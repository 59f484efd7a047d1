"""Compute the losses of a micro-batch's supervised tokens without holding all their logits in memory.

Output layer and losses run chunk by chunk. The gradient of each chunk is computed in the forward pass and stored in
place of its logits, as in Liger's fused linear cross-entropy (arXiv 2410.10989): logits take chunk_size x V x 4 bytes
for any batch length, and nothing is computed twice. If the output layer is trained, its chunks are recomputed in the
backward pass instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from grsap.objectives.base import Head, Objective, TokenChunk
from grsap.records import Source
from grsap.text.collation import MicroBatch


def chunked_loss(
    hidden: Tensor,
    head: Head,
    batch: MicroBatch,
    objectives: Sequence[Objective],
    factors: Mapping[str, float],
    reference_hidden: Tensor | None = None,
    chunk_size: int = 1024,
    head_is_trained: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss of a micro-batch and the sum of each objective.

    Args:
        hidden: (T, H) hidden states at `batch.target_positions`.
        head: the output layer.
        batch: the micro-batch; its targets are ordered by source.
        objectives: the terms of the loss.
        factors: coefficient of each objective's sum in the loss, by name. They are fixed before the forward pass, so
            that all objectives of a chunk share one backward pass through the output layer.
        reference_hidden: (T, H) hidden states of the base model; read only for objectives with `needs_reference`.
        chunk_size: tokens per chunk.
        head_is_trained: whether the output layer's weights need a gradient.

    Returns:
        The loss, () float32, attached to `hidden` even without tokens; and name -> () float32, the sum of each
        objective over the tokens of its source, detached.
    """
    # Zero times a sum keeps all parameters in the graph, as DDP requires, if a device has no target in this step.
    loss = hidden.sum().float() * 0.0
    if head_is_trained and not len(hidden):
        loss = loss + head(hidden.new_zeros(1, hidden.shape[-1])).sum().float() * 0.0
    sums = {objective.name: loss.detach() for objective in objectives}
    sources: list[Source] = list(dict.fromkeys(objective.source for objective in objectives))
    for source in sources:
        terms = [objective for objective in objectives if objective.source == source]
        term_factors = [factors[term.name] for term in terms]
        wanted = batch.target_slice(source)
        for start in range(wanted.start, wanted.stop, chunk_size):
            part = slice(start, min(start + chunk_size, wanted.stop))
            run = _losses(head, batch, part, terms, term_factors, reference_hidden)
            values: list[Tensor]
            if head_is_trained and torch.is_grad_enabled():
                weighted, *values = checkpoint(run, hidden[part], use_reentrant=False)
            else:
                weighted, *values = _WithGradient.apply(run, hidden[part])
            loss = loss + weighted
            for term, value in zip(terms, values, strict=True):
                sums[term.name] = sums[term.name] + value.detach()
    return loss, sums


def _losses(
    head: Head,
    batch: MicroBatch,
    part: slice,
    terms: Sequence[Objective],
    factors: Sequence[float],
    reference_hidden: Tensor | None,
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Return a function that maps the hidden states of a chunk to its part of the loss and the sums of `terms`."""
    reference = reference_hidden[part] if reference_hidden is not None else None

    def run(states: Tensor) -> tuple[Tensor, ...]:
        chunk = TokenChunk(
            states,
            head,
            batch.target_ids[part],
            batch.target_rows[part],
            batch.target_offsets[part],
            reference,
            batch.row_ids,
        )
        sums = [term.checked_losses(chunk).sum() for term in terms]
        return torch.stack([factor * value for factor, value in zip(factors, sums, strict=True)]).sum(), *sums

    return run


class _WithGradient(torch.autograd.Function):
    """Computes d(loss)/d(hidden), (T, H), in the forward pass; the returned sums are detached."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], tuple[Tensor, ...]], hidden: Tensor) -> tuple[Tensor, ...]:
        if not ctx.needs_input_grad[1]:
            return run(hidden)
        states = hidden.detach().requires_grad_()
        with torch.enable_grad():
            loss, *sums = run(states)
        ctx.save_for_backward(*torch.autograd.grad(loss, states, allow_unused=True, materialize_grads=True))
        detached = [value.detach() for value in sums]
        ctx.mark_non_differentiable(*detached)
        return loss.detach(), *detached

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[None, Tensor]:
        (gradient,) = ctx.saved_tensors
        return None, (gradient * upstream).to(gradient.dtype)
