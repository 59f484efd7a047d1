"""Generation with a transformers model that is already in memory, such as the one being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from grsap.errors import ConfigError
from grsap.generation.base import Generation, GenerationRequest, Progress, SamplingSettings
from grsap.generation.batching import batch_by_length
from grsap.generation.decoding import BatchDecoder
from grsap.generation.stopping import DecodingTemplate
from grsap.models.dense import dense
from grsap.models.evaluation_mode import evaluation_modes
from grsap.models.limits import model_limits
from grsap.models.lora import compute_context, inner_model


class ModelGenerator:
    """Greedy decoding or sampling in batches of similar length; finished rows are removed from the KV cache.

    A sampled answer depends on the seed of its request, not on its batch or the global random state, which is left
    unchanged. Answers of one request in different batches are equal except at floating-point ties, which are rare in
    fp32 and occasional in bf16. The model is in evaluation mode while generating, and its mode is restored afterwards.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        template: stop tokens and decoding of answers.
        max_batch_tokens: upper limit of number of prompts times (longest prompt + new tokens), in tokens per batch.
        dtype: autocast dtype of matrix products; with None or float32, they use the dtype of the weights.

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
        """Return indices into `requests`, one list per batch, longest prompts first."""
        lengths = [len(request.prompt_ids) for request in requests]
        return batch_by_length(lengths, settings.max_new_tokens, self.max_batch_tokens)

    def stream(
        self,
        requests: Sequence[GenerationRequest],
        settings: SamplingSettings,
        on_finished: Callable[[int], None] = lambda num: None,
    ) -> Iterator[Generation]:
        """Yield one answer per request, batch by batch. Do not train the model before the iterator is exhausted.

        Args:
            requests: in any order.
            settings: decoding settings.
            on_finished: called after each decoding step that finishes rows, with their number.
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
        """Return one answer per request, in the order of `requests`."""
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
        """Return the stop tokens of the template and of the model's `generation_config`, as other engines use."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        listed = [] if own is None else [own] if isinstance(own, int) else own
        return frozenset(self.template.stop_token_ids) | frozenset(map(int, listed))

    def _decode(
        self, rows: Sequence[GenerationRequest], settings: SamplingSettings, on_finished: Callable[[int], None]
    ) -> list[Generation]:
        """Decode one batch; return its answers in the order of `rows`."""
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
