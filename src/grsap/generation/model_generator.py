"""Generation with a model of transformers that is already in memory, such as the one being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import nn

from grsap.errors import ConfigError
from grsap.generation.base import Generation, GenerationRequest, Progress, SamplingSettings
from grsap.generation.batching import batch_by_length
from grsap.generation.decoding import BatchDecoder
from grsap.models.dense import dense
from grsap.models.evaluation_mode import evaluation_modes
from grsap.models.limits import model_limits
from grsap.models.lora import compute_context, inner_model


class DecodingTemplate(Protocol):
    """What it takes to end and read an answer; a `grsap.text.ChatTemplate` has it."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    @property
    def pad_token_id(self) -> int:
        """The token that fills up a batch."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens to text, special tokens left out."""
        ...


class ModelGenerator:
    """Greedy decoding or sampling in batches of like length, with a KV cache that finished rows leave.

    A sampled answer depends on its request's seed, not on the batch it is in nor on the global random state, which is
    not touched. Answers of one request in different batches agree but for floating-point ties, which are rare in fp32
    and seen now and then in bf16. The model is in evaluation mode meanwhile, and as it was afterwards.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        template: says where answers stop and turns tokens into text.
        max_batch_tokens: upper limit of prompts times (longest prompt + new tokens) in a batch.
        dtype: number format of the matrix products, by autocast; None or float32 leaves them to the weights.

    Raises:
        ConfigError: `max_batch_tokens` is not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        template: DecodingTemplate,
        max_batch_tokens: int = 8192,
        dtype: torch.dtype | None = None,
    ) -> None:
        if max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens is {max_batch_tokens}", "Give a number of tokens of at least 1")
        self.model = model
        self.template = template
        self.max_batch_tokens = max_batch_tokens
        self.dtype = dtype

    def batches(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> list[list[int]]:
        """Indices into `requests`, one list a batch, longest prompts first."""
        lengths = [len(request.prompt_ids) for request in requests]
        return batch_by_length(lengths, settings.max_new_tokens, self.max_batch_tokens)

    def stream(
        self,
        requests: Sequence[GenerationRequest],
        settings: SamplingSettings,
        on_finished: Callable[[int], None] = lambda num: None,
    ) -> Iterator[Generation]:
        """One answer a request, batch by batch. The model must not be trained before the last one is taken.

        Args:
            requests: in any order.
            settings: how to decode.
            on_finished: told how many rows each decoding step finished.
        """
        limits = model_limits(inner_model(self.model))  # type: ignore[arg-type]
        for request in requests:
            limits.check(request.prompt_ids, f"prompt {request.id}", settings.max_new_tokens)
        with evaluation_modes(self.model), dense(self.model, self.dtype):
            for batch in self.batches(requests, settings):
                yield from self._decode([requests[index] for index in batch], settings, on_finished)

    def generate(
        self, requests: Sequence[GenerationRequest], settings: SamplingSettings, progress: Progress | None = None
    ) -> list[Generation]:
        """One answer a request, in their order."""
        num_done = 0

        def on_finished(num: int) -> None:
            nonlocal num_done
            num_done += num
            if progress is not None:
                progress(num_done, len(requests))

        order = [index for batch in self.batches(requests, settings) for index in batch]
        answers = dict(zip(order, self.stream(requests, settings, on_finished), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _stop_token_ids(self) -> frozenset[int]:
        """The template's, and those that the model's own generation settings name, as other engines do."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        listed = [] if own is None else [own] if isinstance(own, int) else own
        return frozenset(self.template.stop_token_ids) | frozenset(map(int, listed))

    def _decode(
        self, rows: Sequence[GenerationRequest], settings: SamplingSettings, on_finished: Callable[[int], None]
    ) -> list[Generation]:
        """One batch."""
        device = next(self.model.parameters()).device
        with torch.no_grad(), compute_context(self.model, device, self.dtype or torch.float32):
            decoder = BatchDecoder(self.model, rows, settings, self._stop_token_ids(), self.template.pad_token_id)
            decoder.run(on_finished)
        return [
            Generation(
                row.id,
                self.template.decode(decoder.answers[place]),
                tuple(decoder.answers[place]),
                decoder.finish_reasons[place] or "length",
                decoder.stop_tokens[place],
                None if settings.top_logprobs is None else tuple(decoder.logprobs[place]),
            )
            for place, row in enumerate(rows)
        ]
