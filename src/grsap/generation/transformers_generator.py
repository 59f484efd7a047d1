"""Generation with a model that transformers loads in this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grsap.console import say
from grsap.errors import ConfigError
from grsap.generation.base import Generation, GenerationRequest, Likelihood, SamplingSettings, ScoringRequest
from grsap.generation.likelihood import LikelihoodScorer
from grsap.generation.local_generator import LocalGenerator
from grsap.generation.model_generator import ModelGenerator
from grsap.generation.stopping import decoding_template
from grsap.models.adapters import adapter_hash, load_adapter, without_adapter
from grsap.models.base import BaseModel
from grsap.models.compute import resolve_device
from grsap.models.lora import OutputHead, inner_model


class TransformersGenerator(LocalGenerator):
    """A base model on this machine, with or without an adapter. Weights are loaded at the first request.

    Args:
        base: the model, with its quantization.
        adapter: folder of a PEFT adapter to answer with, such as `runs/NAME/adapter`.
        device: PyTorch device; `auto` is the first GPU, or the CPU if there is none.
        max_batch_tokens: upper limit of number of prompts times (longest prompt + new tokens), in tokens per batch;
            null for 8192 on a CPU and 65536 on a GPU.
    """

    def __init__(
        self,
        base: BaseModel,
        adapter: str | None = None,
        device: str = "auto",
        max_batch_tokens: int | None = None,
    ) -> None:
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens is {max_batch_tokens}", "Give at least 1, or omit it")
        super().__init__(base, adapter)
        self.device = resolve_device(device)
        self.max_batch_tokens = max_batch_tokens or (8192 if self.device.type == "cpu" else 65536)
        self._loaded: ModelGenerator | None = None
        self._head_is_checked = False
        self._applied: Path | None = None
        self._base_is_changed = False

    def use_adapter(self, adapter: str | None) -> None:
        """Switch to another adapter, or with None to the base alone; the base's weights stay loaded.

        Raises:
            ModelError: the adapter is missing or does not fit the base.
        """
        self.adapter = None if adapter is None else self.check_adapter(adapter)

    def check_prompt(self, ids: Sequence[int], what: str, num_new: int) -> None:
        """Check that the base has an embedding of each token, and enough positions."""
        self.base.limits.check(ids, what, num_new)

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """Yield one answer per request, batch by batch, longest prompts first."""
        for request in requests:
            self.check_prompt(request.prompt_ids, f"prompt {request.id}", settings.max_new_tokens)
        if requests:
            yield from self._model_generator().stream(requests, settings)

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Score given continuations, batch by batch, longest first."""
        for request in requests:
            self.base.limits.check((*request.prompt_ids, *request.continuation_ids), f"text {request.id}")
        if requests:
            loaded = self._model_generator()
            if not self._head_is_checked:  # that `OutputHead` of the hidden states gives the model's own logits
                model: Any = loaded.model
                OutputHead(inner_model(model)).check(model, loaded.dtype or torch.float32, self.base.path)
                self._head_is_checked = True
            scorer = LikelihoodScorer(loaded.model, loaded.template.pad_token_id, self.max_batch_tokens, loaded.dtype)
            yield from scorer.stream(requests)

    def model(self) -> nn.Module:
        """Return the model with its adapter, weights loaded, for use by other code."""
        return self._model_generator().model

    def _model_generator(self) -> ModelGenerator:
        """Load the model if needed, and apply the current adapter."""
        if self._loaded is not None and self._applied != self.adapter and self._base_is_changed:
            self.close()
        if self._loaded is None:
            dtype = self.base.dtype_on(self.device)
            model = self.base.load(self.device)
            share = self.base.quantized_share()
            if share is not None and share.is_low:
                say(str(share))
            self._loaded = ModelGenerator(model, decoding_template(self), self.max_batch_tokens, dtype)
            self._applied, self._base_is_changed, self._head_is_checked = None, False, False
        if self._applied != self.adapter:
            model = without_adapter(self._loaded.model)
            self._loaded.model, self._applied = model, None
            if self.adapter is not None:
                self._base_is_changed = True  # in case `load_adapter` fails halfway
                self._loaded.model, self._base_is_changed = load_adapter(model, self.adapter)
                self._applied = self.adapter
        return self._loaded

    def identity(self) -> dict[str, Any]:
        """Identify base, adapter, kind of device and batch size."""
        return {**super().identity(), "device": self.device.type, "max_batch_tokens": self.max_batch_tokens}

    def content_identity(self) -> dict[str, Any]:
        """Identify base and adapter by content, kind of device, and compute dtype."""
        return {
            "backend": type(self).__name__,
            **self.base.content_identity(),
            "revision": self.base_revision,
            "adapter_hash": adapter_hash(self.adapter),
            "device": self.device.type,
            "compute_dtype": str(self.base.dtype_on(self.device)),
        }

    def runs_on(self, device: torch.device) -> bool:
        """Return whether this is the generator's device; a GPU without an index matches any."""
        same_index = None in (self.device.index, device.index) or self.device.index == device.index
        return self.device.type == device.type and same_index

    def close(self) -> None:
        """Free the weights."""
        self._loaded = None
        if self.device.type == "cuda":
            gc.collect()  # a 4-bit weight and its layer reference each other
            torch.cuda.empty_cache()
