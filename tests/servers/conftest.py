"""The quickstart's aligned model in a folder, the probes as prompts, and the local backend's answers to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grsap.embedded import resolve
from grsap.generation import Generation, GenerationRequest, SamplingSettings, TransformersGenerator
from grsap.models import BaseModel

MODEL = "embedded:smollm2-135m-instruct"
ADAPTER = "embedded:quickstart/aligned_adapter"
NUM_PROMPTS = 50


@pytest.fixture(scope="session")
def folder() -> Path:
    """SmolLM2-135M-Instruct with its aligned adapter merged in, as a folder that any engine loads."""
    return Path(BaseModel(MODEL, merge_adapter=ADAPTER, quantization="none").weights_source())


@pytest.fixture(scope="session")
def base(folder: Path) -> BaseModel:
    return BaseModel(str(folder), quantization="none", compute_dtype="float32")


@pytest.fixture(scope="session")
def prompts(base: BaseModel) -> list[GenerationRequest]:
    """The first 50 probes of the quickstart, by the model's chat template."""
    template = base.template
    rows = [json.loads(line) for line in resolve("embedded:quickstart/probes.jsonl").read_text().splitlines()]
    return [
        GenerationRequest(row["id"], tuple(template.prompt_ids(row["messages"])), seed=number)
        for number, row in enumerate(rows[:NUM_PROMPTS])
    ]


SETTINGS = SamplingSettings(max_new_tokens=32, top_logprobs=5)


@pytest.fixture(scope="session")
def local_answers(base: BaseModel, prompts: list[GenerationRequest]) -> list[Generation]:
    """Greedy answers of the local backend in float32, with the five most likely tokens at each place."""
    return TransformersGenerator(base, device="cpu").generate(prompts, SETTINGS)
