"""Generation with a model that transformers loads: on this machine, no server."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from grsap.console import say
from grsap.errors import ConfigError
from grsap.generation.base import Generation, GenerationRequest, Generator, Likelihood, SamplingSettings, ScoringRequest
from grsap.generation.likelihood import LikelihoodScorer
from grsap.generation.model_generator import ModelGenerator
from grsap.generation.stopping import decoding_template
from grsap.models.adapters import adapter_folder, adapter_hash, load_adapter, without_adapter
from grsap.models.base import BaseModel
from grsap.models.compute import resolve_device
from grsap.models.lora import OutputHead, inner_model
from grsap.text.template import ChatTemplate


class TransformersGenerator(Generator):
    """A base model on this machine, with or without an adapter. Weights are loaded at the first request.

    Args:
        base: the model, quantized as set.
        adapter: folder of a PEFT adapter to answer with, such as `runs/NAME/adapter`.
        device: `auto` is the first GPU, or the processor where there is none.
        max_batch_tokens: upper limit of prompts times (longest prompt + new tokens) in a batch; by default 8192 on a
            processor and 65536 on a GPU.
    """

    def __init__(
        self,
        base: BaseModel,
        adapter: str | None = None,
        device: str = "auto",
        max_batch_tokens: int | None = None,
    ) -> None:
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens is {max_batch_tokens}", "Give at least 1, or leave it out")
        base.check_weights()
        self.base = base
        self.adapter = None if adapter is None else self.check_adapter(adapter)
        self.device = resolve_device(device)
        self.max_batch_tokens = max_batch_tokens or (8192 if self.device.type == "cpu" else 65536)
        self._loaded: ModelGenerator | None = None
        self._checked: ModelGenerator | None = None
        self._applied: Path | None = None
        self._base_is_changed = False

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's."""
        return self.base.tokenizer

    @property
    def template(self) -> ChatTemplate:
        """The base's."""
        return self.base.template

    def use_adapter(self, adapter: str | None) -> None:
        """Answer with another adapter from now on, or with the base alone; weights that are loaded stay so.

        Raises:
            ModelError: no adapter is there, or it does not fit the base.
        """
        self.adapter = None if adapter is None else self.check_adapter(adapter)

    def check_adapter(self, adapter: str) -> Path:
        """The folder of an adapter for this base, which is checked without loading weights.

        Raises:
            ModelError: no adapter is there, or it does not fit the base.
        """
        folder = adapter_folder(adapter)
        self.base.check_adapter(folder)
        return folder

    @cached_property
    def base_revision(self) -> str:
        """Of the base's weights without an adapter; the files are read once."""
        return self.base.weights_revision()

    def check_prompt(self, ids: Sequence[int], what: str, num_new: int) -> None:
        """See that the base has an embedding of each token and positions enough."""
        self.base.limits.check(ids, what, num_new)

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """One answer a request, batch by batch, longest prompts first."""
        for request in requests:
            self.check_prompt(request.prompt_ids, f"prompt {request.id}", settings.max_new_tokens)
        if requests:
            yield from self._model_generator().stream(requests, settings)

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """How likely the model finds given continuations, batch by batch, the longest first."""
        for request in requests:
            self.base.limits.check((*request.prompt_ids, *request.continuation_ids), f"text {request.id}")
        if requests:
            held = self._model_generator()
            self._check_head(held)
            scorer = LikelihoodScorer(held.model, held.template.pad_token_id, self.max_batch_tokens, held.dtype)
            yield from scorer.stream(requests)

    def _check_head(self, held: ModelGenerator) -> None:
        """See, once after each load, that likelihoods are those of the model's own logits."""
        if self._checked is not held:
            model: Any = held.model
            OutputHead(inner_model(model)).check(model, held.dtype or torch.float32, self.base.path)
            self._checked = held

    def model(self) -> nn.Module:
        """The model with its adapter, weights loaded; for what asks it in another way."""
        return self._model_generator().model

    def _model_generator(self) -> ModelGenerator:
        if self._loaded is not None and self._applied != self.adapter and self._base_is_changed:
            self.close()
        if self._loaded is None:
            dtype = self.base.dtype_on(self.device)
            model = self.base.load(self.device)
            share = self.base.quantized_share()
            if share is not None and share.is_low:
                say(str(share))
            self._loaded = ModelGenerator(model, decoding_template(self), self.max_batch_tokens, dtype)
            self._applied, self._base_is_changed = None, False
        if self._applied != self.adapter:
            model = without_adapter(self._loaded.model)
            self._loaded.model, self._applied = model, None
            if self.adapter is not None:
                self._base_is_changed = True  # if it fails half-way
                self._loaded.model, self._base_is_changed = load_adapter(model, self.adapter)
                self._applied = self.adapter
        return self._loaded

    def identity(self) -> dict[str, Any]:
        """Base, adapter and the libraries' versions."""
        return {
            **super().identity(),
            "base": self.base.identity(),
            "adapter_hash": adapter_hash(self.adapter),
            "device": self.device.type,
            "max_batch_tokens": self.max_batch_tokens,
        }

    def content_identity(self) -> dict[str, Any]:
        """Base and adapter by content, kind of device, and number format."""
        return {
            "backend": type(self).__name__,
            **self.base.content_identity(),
            "revision": self.base_revision,
            "adapter_hash": adapter_hash(self.adapter),
            "device": self.device.type,
            "compute_dtype": str(self.base.dtype_on(self.device)),
        }

    @property
    def model_name(self) -> str:
        """The base's."""
        return self.base.name

    def weights_revision(self) -> str:
        """The base's, and the adapter's hash."""
        return "+".join(part for part in (self.base_revision, adapter_hash(self.adapter)) if part)

    def runs_on(self, device: torch.device) -> bool:
        """Whether this is its device; a GPU without a number is the process's own."""
        same_index = None in (self.device.index, device.index) or self.device.index == device.index
        return self.device.type == device.type and same_index

    def close(self) -> None:
        """Forget the weights."""
        self._loaded = self._checked = None
        if self.device.type == "cuda":
            gc.collect()  # a 4-bit weight and its layer hold each other
            torch.cuda.empty_cache()
