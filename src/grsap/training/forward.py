"""Compute hidden states and losses; all objectives share one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from grsap.errors import ConfigError
from grsap.models.compute import logits_chunk_size
from grsap.models.evaluation_mode import evaluating
from grsap.models.lora import OutputHead, adapter_off, autocast, backbone, compute_context, inner_model
from grsap.models.row_attention import attend_by_row, attends_by_row, stop_attending_by_row
from grsap.objectives import Objective
from grsap.objectives.chunked import chunked_loss
from grsap.records import Source
from grsap.text.collation import SOURCES, MicroBatch

PROBE_LENGTH = 32
"""Total tokens of the two rows with which packing is tested."""
MAX_DIFFERENCE = 0.05
"""Limit for the relative difference of hidden states; 0.5 occurs if rows attend to each other (SmolLM2, bf16 too)."""

ReferenceStates = Mapping[Source, Tensor]
"""Source -> (targets of that source, H) hidden states of the reference, for one micro-batch."""


class Reference(Protocol):
    """The model that objectives compare with; its hidden states are `TokenChunk.reference_hidden`."""

    def weights(self, model: PreTrainedModel | PeftModel) -> AbstractContextManager[None]:
        """Return a context in which `model` computes the reference; entered once per step, without gradient."""
        ...


class BaseReference:
    """The base model: the adapter is bypassed, so that no second model is needed in memory."""

    def weights(self, model: PreTrainedModel | PeftModel) -> AbstractContextManager[None]:
        """Bypass the adapter.

        Raises:
            ConfigError: the model has no adapter.
        """
        return adapter_off(model)


class Forward:
    """Computes hidden states once, logits at supervised positions only, and the reference's hidden states if needed.

    Args:
        model: the model with its adapter.
        objectives: terms of the loss.
        dtype: number format of the matrix products.
        chunk_size: supervised tokens whose logits are in memory at once; None for the default of the model's device.
        reference: the model that objectives compare with; by default the base model.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        objectives: Sequence[Objective],
        dtype: torch.dtype,
        chunk_size: int | None = None,
        reference: Reference | None = None,
    ) -> None:
        self.model = model
        self.reference = reference or BaseReference()
        self.objectives = objectives
        self.dtype = dtype
        self.backbone = backbone(model)
        self.head = OutputHead(inner_model(model))
        self.chunk_size = chunk_size or logits_chunk_size(self.head.layer.weight.device)
        attend_by_row(inner_model(model), dtype)
        self.reference_sources: list[Source] = [
            source
            for source in SOURCES
            if any(objective.source == source and objective.needs_reference for objective in objectives)
        ]

    def check_head(self, name: str) -> None:
        """Check that lm_head(hidden) equals the model's logits and that the base's logits are available.

        Raises:
            ModelError: the architecture transforms hidden states or logits in an unknown way.
            ConfigError: an objective needs the base, and its output layer is trained.
        """
        if self.reference_sources and self.head.is_trained:
            raise ConfigError(
                "model.lora trains the output layer, and an objective needs the base's",
                "Take the output layer out of model.lora.target_modules, or leave the objective out",
            )
        self.head.check(self.model, self.dtype, name)

    @cached_property
    def keeps_rows_apart(self) -> bool:
        """Whether a row has the same hidden states packed after another row as alone, up to rounding."""
        if self._are_rows_apart():
            return True
        if not attends_by_row(inner_model(self.model)):
            return False
        stop_attending_by_row(inner_model(self.model))  # the model does not pass row bounds to its layers
        return self._are_rows_apart()

    def _are_rows_apart(self) -> bool:
        half = PROBE_LENGTH // 2
        ids = torch.arange(PROBE_LENGTH, device=self.head.layer.weight.device)[None] + 5
        places = torch.arange(half, device=ids.device).repeat(2)[None]
        with evaluating(self.model), compute_context(self.model, ids.device, self.dtype):
            packed = self._states(ids, places, None, [0, half, PROBE_LENGTH])[0, half:].float()
            alone = self._states(ids[:, half:], places[:, half:], None, [0, half])[0].float()
        differences = (packed - alone).norm(dim=-1) / alone.norm(dim=-1)
        return float(differences.mean()) < MAX_DIFFERENCE

    def references(self, batches: Sequence[MicroBatch]) -> list[ReferenceStates]:
        """Compute the reference's hidden states for each micro-batch, where objectives need them.

        All micro-batches of a step are computed before the model's own passes: switching the adapter and the modes
        visits every module, which takes 80 ms at the size of Llama 3 8B, and activation memory is still free.
        """
        sources = [source for source in self.reference_sources if any(source in batch.sources for batch in batches)]
        if not sources:
            return [{} for _ in batches]
        device = batches[0].input_ids.device
        with (
            evaluating(self.model),
            self.reference.weights(self.model),
            compute_context(self.model, device, self.dtype),
        ):
            return [self._reference(batch, sources) for batch in batches]

    def loss(
        self, batch: MicroBatch, factors: Mapping[str, float], reference: ReferenceStates | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the micro-batch's loss, () float32, and the sum of each objective: name -> () float32, detached.

        It is faster inside `without_input_casts`, which must then include the backward pass.

        Args:
            batch: the micro-batch.
            factors: coefficient of each objective's sum in the loss, by name.
            reference: from `references`; computed here if None.
        """
        states = self.references([batch])[0] if reference is None else reference
        with autocast(batch.input_ids.device, self.dtype):
            hidden = self._hidden(batch, slice(None), slice(None))[batch.target_positions]
            of_base = _at_targets(states, batch)
            return chunked_loss(
                hidden, self.head, batch, self.objectives, factors, of_base, self.chunk_size, self.head.is_trained
            )

    def task_loss(self, batches: Sequence[MicroBatch]) -> Tensor:
        """Return the sum of cross-entropy over all supervised tokens of a step, without gradient: () float32."""
        device = batches[0].input_ids.device
        losses: list[Tensor] = []
        with evaluating(self.model), compute_context(self.model, device, self.dtype):
            for batch in batches:
                hidden = self._hidden(batch, slice(None), slice(None))[batch.target_positions]
                parts = zip(hidden.split(self.chunk_size), batch.target_ids.split(self.chunk_size), strict=True)
                losses += [cross_entropy(self.head(states).float(), ids, reduction="sum") for states, ids in parts]
        return torch.stack(losses).sum()

    def _hidden(self, batch: MicroBatch, rows: slice, columns: slice) -> Tensor:
        """Return the (B x L, H) last hidden states of a part of the batch."""
        mask = None if batch.attention_mask is None else batch.attention_mask[rows, columns]
        ids = batch.input_ids[rows, columns]
        width = ids.shape[1]
        starts = (span.start - (columns.start or 0) for span in batch.spans)
        bounds = sorted({0, *(start for start in starts if 0 <= start < width), width})
        return self._states(ids, batch.position_ids[rows, columns], mask, bounds).flatten(0, 1)

    def _states(self, ids: Tensor, positions: Tensor, mask: Tensor | None, row_bounds: list[int]) -> Tensor:
        """Return the (B, L, H) last hidden states; `row_bounds` has the starts of packed rows and the last end."""
        by_row: dict[str, Any] = {}
        if mask is None and attends_by_row(inner_model(self.model)):
            bounds = torch.tensor(row_bounds, dtype=torch.int32).to(ids.device, non_blocking=True)
            longest = max(stop - start for start, stop in pairwise(row_bounds))
            by_row = {"cu_seq_lens_q": bounds, "max_length_q": longest}
        output = self.backbone(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            use_cache=False,  # with a cache, rows packed into one sequence would attend to each other
            **by_row,
        )
        states: Tensor = output.last_hidden_state
        return states

    def _reference(self, batch: MicroBatch, sources: Sequence[Source]) -> ReferenceStates:
        """Return the hidden states at the targets of each source that has any, by the current weights."""
        found = {}
        for source in sources:
            wanted = batch.target_slice(source)
            if wanted.start < wanted.stop:
                rows, columns, offset = self._part(batch, source)
                states = self._hidden(batch, rows, columns)
                found[source] = states[batch.target_positions[wanted] - offset]
        return found

    @staticmethod
    def _part(batch: MicroBatch, source: Source) -> tuple[slice, slice, int]:
        """Locate a source's rows: rows and columns of the tensors, and the flat index of their first position."""
        spans = [span for span, name in zip(batch.spans, batch.sources, strict=True) if name == source]
        if batch.attention_mask is None:
            start, stop = spans[0].start, spans[-1].start + spans[-1].length
            return slice(None), slice(start, stop), start
        first, last = spans[0].batch_index, spans[-1].batch_index
        return slice(first, last + 1), slice(None), first * batch.input_ids.shape[1]


def _at_targets(reference: ReferenceStates, batch: MicroBatch) -> Tensor | None:
    """Place reference states at their targets: (T, H), zero for other sources; None without any reference."""
    placed: Tensor | None = None
    for source, states in reference.items():
        if placed is None:
            placed = states.new_zeros(len(batch.target_ids), states.shape[-1])
        placed[batch.target_slice(source)] = states
    return placed
