"""Short runs on the tiny model, in float32, that show what a step does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from peft import LoraConfig
from torch import Tensor

from grsap.data import Batching, MixtureDataModule, RatioSampler, ReplayDataModule
from grsap.data.conversation import ConversationDataModule, Row
from grsap.models import BaseModel
from grsap.records import SafetyRecord, Split, write_jsonl
from grsap.text.encoding import EncodingSettings
from grsap.training import ConstantRate, SafetyFineTuning

ANSWERS = [
    "Yes.",
    "No, it is two and two.",
    "The sky is blue, the grass is green.",
    "A lamp.",
    "Four.",
    "Oslo, I think.",
]


class Questions(ConversationDataModule):
    """Twelve rows of unequal length."""

    def rows(self, split: Split) -> Iterable[Row]:
        """The rows."""
        if split == "train":
            for number in range(12):
                yield conversation(f"Question {number}: how many?", ANSWERS[number % len(ANSWERS)])


def conversation(request: str, response: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": request}, {"role": "assistant", "content": response}]}


@pytest.fixture
def replay_path(tmp_path: Path) -> str:
    rows = [
        SafetyRecord(
            id=f"safe-{number}",
            messages=conversation(f"Unsafe request {number}?", "I cannot help with that.")["messages"],  # type: ignore[arg-type]
            domain="theft",
        )
        for number in range(4)
    ]
    write_jsonl(tmp_path / "replay.jsonl", [row.to_dict() for row in rows])
    return str(tmp_path / "replay.jsonl")


def train(
    base: BaseModel,
    replay_path: str,
    *,
    max_tokens: int = 1024,
    packing: str = "on",
    batch_size: int = 8,
    max_steps: int = 1,
    max_epochs: int | None = None,
    lora: LoraConfig | None = None,
    precision: Any = None,
    **module_settings: object,
) -> SafetyFineTuning:
    """One short run in float32 with plain gradient descent, so that weights show the gradient."""
    module_settings.setdefault("optimizer", partial(torch.optim.SGD, lr=0.5))
    module = SafetyFineTuning(
        base,
        lora=lora or LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False),
        schedule=ConstantRate(),
        **module_settings,  # type: ignore[arg-type]
    )
    data = MixtureDataModule(
        Questions(),
        ReplayDataModule(replay_path),
        RatioSampler(replay_ratio=0.25),
        base,
        Batching(global_batch_size=batch_size, max_tokens_per_micro_batch=max_tokens, packing=packing),  # type: ignore[arg-type]
        EncodingSettings(max_length=100),
    )
    trainer = Trainer(
        max_steps=max_steps,
        max_epochs=max_epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        precision=precision,
    )
    trainer.fit(module, data)
    return module


@pytest.fixture
def base(tiny_base_path: Path) -> BaseModel:
    return BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")


def weights(module: SafetyFineTuning) -> Tensor:
    return torch.cat([value.flatten() for value in module.state_dict().values()])
