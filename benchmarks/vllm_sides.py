"""The sides of the benchmarks of vLLM: grsap and a bare caller, of one engine in this process, and of one server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from grsap.generation import (
    GenerationRequest,
    OpenAIGenerator,
    SamplingSettings,
    ServerSettings,
    VLLMEngine,
    VLLMGenerator,
)
from grsap.models import BaseModel, TokenizerSource
from grsap.models.compute import resolve_dtype

NAME = "smollm2"
MAX_MODEL_LEN = 2048
MAX_NUM_SEQS = 64

Sides = dict[str, Callable[[], int]]


def dtype_of(base: BaseModel) -> str:
    """What all sides compute in, as vLLM calls it."""
    return str(resolve_dtype(base.compute_dtype, torch.device("cpu"))).removeprefix("torch.")


@contextlib.contextmanager
def engine_sides(base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings) -> Iterator[Sides]:
    """`VLLMGenerator`, and `vllm.LLM.generate` as its documentation shows it, on the same engine."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams, TokensPrompt

    llm = LLM(base.path, dtype=dtype_of(base), max_model_len=MAX_MODEL_LEN, max_num_seqs=MAX_NUM_SEQS)
    ours = VLLMGenerator(base, engine=VLLMEngine(max_model_len=MAX_MODEL_LEN, max_num_seqs=MAX_NUM_SEQS))
    ours._started = llm.llm_engine
    prompts = [TokensPrompt(prompt_token_ids=list(request.prompt_ids)) for request in requests]
    params = SamplingParams(max_tokens=settings.max_new_tokens, temperature=0.0)

    def bare() -> int:
        llm.reset_prefix_cache()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(each.outputs[0].token_ids) - (each.outputs[0].finish_reason == "stop") for each in outputs)

    def generate() -> int:
        llm.reset_prefix_cache()
        return sum(len(answer.token_ids) for answer in ours.generate(requests, settings))

    yield {"VLLMGenerator": generate, "LLM.generate": bare}


@contextlib.contextmanager
def server_sides(base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings) -> Iterator[Sides]:
    """`OpenAIGenerator`, and the client of the package `openai` with all requests at once, to the same server."""
    from openai import AsyncOpenAI

    with _server(base) as url:
        server = ServerSettings(concurrency=MAX_NUM_SEQS * 2, timeout_s=3600)
        ours = OpenAIGenerator(url, NAME, TokenizerSource(base.path), server, prompt_format="ids")

        async def ask() -> int:
            async with AsyncOpenAI(base_url=url, api_key="none", timeout=3600) as client:
                asked = [
                    client.completions.create(
                        model=NAME,
                        prompt=list(request.prompt_ids),
                        max_tokens=settings.max_new_tokens,
                        temperature=0.0,
                    )
                    for request in requests
                ]
                answers = await asyncio.gather(*asked)
            return sum(each.usage.completion_tokens - (each.choices[0].finish_reason == "stop") for each in answers)

        yield {
            "OpenAIGenerator": lambda: sum(len(answer.token_ids) for answer in ours.generate(requests, settings)),
            "AsyncOpenAI, all requests at once": lambda: asyncio.run(ask()),
        }
        ours.close()


@contextlib.contextmanager
def _server(base: BaseModel) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", base.path]
    words += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), "--dtype", dtype_of(base)]
    words += ["--max-model-len", str(MAX_MODEL_LEN), "--max-num-seqs", str(MAX_NUM_SEQS)]
    words += ["--no-enable-prefix-caching", "--disable-uvicorn-access-log"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ}
    with Path(os.devnull).open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 900
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("vLLM's server did not start") from None
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
