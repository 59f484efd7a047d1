"""Decode loop of one batch: prefill, then one token per row and step; finished rows are removed from the batch.

Shapes: B rows still in the batch, L positions in the cache, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from grsap.generation.base import FinishReason, GenerationRequest, SamplingSettings, TokenLogprobs
from grsap.generation.kv_cache import growing_cache
from grsap.generation.prefix import prefix_cache, shared_prefix_length
from grsap.generation.sampling import next_tokens, row_generators, token_logprobs

COMPACT_SHARE = 0.125
"""Share of the batch in (0, 1] at which finished rows are removed: each removal copies the cache."""


class BatchDecoder:
    """Decode one batch. Prompts are padded on the left; their common prefix is computed once.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        requests: the prompts.
        settings: decoding settings.
        stop_token_ids: tokens that end an answer.
        pad_token_id: pads short prompts on the left.
    """

    def __init__(
        self,
        model: nn.Module,
        requests: Sequence[GenerationRequest],
        settings: SamplingSettings,
        stop_token_ids: frozenset[int],
        pad_token_id: int,
    ) -> None:
        self.model = model
        self.settings = settings
        self.stop_token_ids = stop_token_ids
        self.pad_token_id = pad_token_id
        self.device = model.get_input_embeddings().weight.device  # type: ignore[operator]
        self.answers: list[list[int]] = [[] for _ in requests]
        self.finish_reasons: list[FinishReason | None] = [None] * len(requests)
        self.stop_tokens: list[int | None] = [None] * len(requests)
        self.logprobs: list[list[TokenLogprobs]] = [[] for _ in requests]
        self._rows = list(range(len(requests)))
        self._streams = row_generators([request.seed for request in requests]) if settings.temperature else []
        # A tensor, not the int 1: with an int, transformers slices the hidden states, which leaves them strided, and
        # the CPU matmul then copies the weights of the output head for each row.
        self._last = torch.tensor([-1], device=self.device)
        self._cache: Any = None
        self._prepare_prompts([request.prompt_ids for request in requests])

    def _prepare_prompts(self, prompts: Sequence[Sequence[int]]) -> None:
        """Prepare the inputs of the first step; run the common prefix of all prompts into the cache."""
        prefix = shared_prefix_length(prompts)
        if prefix:
            self._cache = prefix_cache(self.model, prompts[0][:prefix], len(prompts), self.device)
            prefix = prefix if self._cache is not None else 0
        else:
            self._cache = growing_cache(self.model)
        self._input_ids, mask = self._pad_left([prompt[prefix:] for prompt in prompts])
        self._positions = prefix + (mask.cumsum(dim=-1) - 1).clamp(min=0)
        self._mask = torch.cat([mask.new_ones(len(prompts), prefix), mask], dim=-1)

    def _pad_left(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return `input_ids` and `attention_mask` of prompts, both (B, L)."""
        width = max(len(prompt) for prompt in prompts)
        ids = [[self.pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def run(self, on_finished: Callable[[int], None]) -> None:
        """Decode all rows; fill `answers`, `finish_reasons`, `stop_tokens` and `logprobs`.

        Args:
            on_finished: called after each step that finishes rows, with their number.
        """
        if self.settings.max_new_tokens < 1:
            self.finish_reasons = ["length" for _ in self.finish_reasons]
            on_finished(len(self.finish_reasons))
            return
        while self._rows:
            logits = self._step()
            streams = [self._streams[row] for row in self._rows] if self._streams else []
            tokens = next_tokens(logits, self.settings, streams)
            before = self._num_finished()
            if self.settings.top_logprobs is not None:
                self._record_logprobs(token_logprobs(logits, tokens, self.settings.top_logprobs))
            self._record(tokens.tolist())
            if (finished := self._num_finished()) > before:
                on_finished(finished - before)
            self._prepare(tokens)

    def _num_finished(self) -> int:
        return sum(reason is not None for reason in self.finish_reasons)

    def _step(self) -> Tensor:
        """Run one forward pass; return the logits of each row's next token, (B, V), float32."""
        output = self.model(
            input_ids=self._input_ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=self._last,
        )
        self._cache = output.past_key_values
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _record_logprobs(self, entries: Sequence[TokenLogprobs]) -> None:
        for row, entry in zip(self._rows, entries, strict=True):
            if self.finish_reasons[row] is None:
                self.logprobs[row].append(entry)

    def _record(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            if self.finish_reasons[row] is not None:
                continue
            if token in self.stop_token_ids:
                self.finish_reasons[row], self.stop_tokens[row] = "stop", token
                continue
            self.answers[row].append(token)
            if len(self.answers[row]) >= self.settings.max_new_tokens:
                self.finish_reasons[row] = "length"

    def _prepare(self, tokens: Tensor) -> None:
        """Prepare the inputs of the next step; remove finished rows once they are `COMPACT_SHARE` of the batch."""
        alive = [place for place, row in enumerate(self._rows) if self.finish_reasons[row] is None]
        if len(self._rows) - len(alive) >= max(1.0, COMPACT_SHARE * len(self._rows)) or not alive:
            self._rows = [self._rows[place] for place in alive]
            if not alive:
                return
            kept = torch.tensor(alive, device=self.device)
            self._cache.batch_select_indices(kept)
            tokens, self._mask, self._positions = tokens[kept], self._mask[kept], self._positions[kept]
        self._input_ids = tokens[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._rows), 1)], dim=-1)
