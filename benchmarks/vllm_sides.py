"""The two sides of the benchmark of vLLM: through its server, and the engine alone. Only one engine runs at a time.

Each side is a process of its own that stays up and is stopped (SIGSTOP) while the other runs: two engines together
would share the two cores, and starting one takes longer than the measurement.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from grsap.generation import GenerationRequest, OpenAIGenerator, SamplingSettings, ServerSettings
from grsap.models import BaseModel, TokenizerSource
from grsap.models.compute import resolve_dtype

NAME = "smollm2"
MAX_MODEL_LEN = 2048
MAX_NUM_SEQS = 64


@contextlib.contextmanager
def vllm_sides(
    base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings
) -> Iterator[dict[str, Callable[[], int]]]:
    """Both sides, started and asleep."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    with _engine(base, requests, settings) as (engine, engine_pid), _server(base) as (url, server_pid):
        _freeze(server_pid)
        server = ServerSettings(concurrency=MAX_NUM_SEQS * 2, timeout_s=3600)
        through = OpenAIGenerator(url, NAME, TokenizerSource(base.path), server, prompt_format="ids")

        def awake(pid: int, side: Callable[[], int]) -> int:
            os.killpg(pid, signal.SIGCONT)
            try:
                return side()
            finally:
                _freeze(pid)

        def client() -> int:
            return sum(len(answer.token_ids) for answer in through.generate(requests, settings))

        _freeze(engine_pid)
        yield {
            "OpenAIGenerator through vLLM's server": lambda: awake(server_pid, client),
            "vLLM's engine alone": lambda: awake(engine_pid, engine),
        }
        for pid in (server_pid, engine_pid):
            os.killpg(pid, signal.SIGCONT)
        through.close()


def dtype_of(base: BaseModel) -> str:
    """What both sides compute in, as vLLM calls it."""
    return str(resolve_dtype(base.compute_dtype, torch.device("cpu"))).removeprefix("torch.")


def _freeze(pid: int) -> None:
    os.killpg(pid, signal.SIGSTOP)


@contextlib.contextmanager
def _server(base: BaseModel) -> Iterator[tuple[str, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", base.path]
    words += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), "--dtype", dtype_of(base)]
    words += ["--max-model-len", str(MAX_MODEL_LEN), "--max-num-seqs", str(MAX_NUM_SEQS)]
    words += ["--no-enable-prefix-caching", "--disable-uvicorn-access-log"]
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
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
        yield f"http://127.0.0.1:{port}/v1", process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _engine(
    base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings
) -> Iterator[tuple[Callable[[], int], int]]:
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve_engine, args=(there, base, requests, settings))
    process.start()
    assert process.pid is not None
    assert here.recv() == "ready"

    def run() -> int:
        here.send("run")
        return int(here.recv())

    try:
        yield run, process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _serve_engine(
    pipe: Connection, base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings
) -> None:
    """In a process group of its own: `vllm.LLM.generate`, as its documentation shows it, at each word."""
    os.setpgrp()
    from vllm import LLM, SamplingParams, TokensPrompt

    llm = LLM(
        base.path,
        dtype=dtype_of(base),
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=MAX_NUM_SEQS,
        enable_prefix_caching=False,
    )
    prompts = [TokensPrompt(prompt_token_ids=list(request.prompt_ids)) for request in requests]
    params = SamplingParams(max_tokens=settings.max_new_tokens, temperature=0.0)
    pipe.send("ready")
    while pipe.recv():
        outputs = llm.generate(prompts, params, use_tqdm=False)
        pipe.send(sum(len(each.outputs[0].token_ids) - (each.outputs[0].finish_reason == "stop") for each in outputs))
