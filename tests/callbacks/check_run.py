"""A small real run for checks: a tiny Llama with dropout, trained by Lightning, answering by script or by itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from grsap.data.conversation import ConversationDataModule
from grsap.generation import Generation, GenerationRequest, ModelGenerator, SamplingSettings, batch_by_length
from grsap.text.encoding import EncodingSettings
from grsap.text.template import ChatTemplate

NUM_STEPS = 6

Script = Callable[[str, int], str]
"""(request id, optimizer step) -> answer."""


class ScriptedGenerator:
    """Answers by a script; notes which requests came together."""

    def __init__(self, script: Script, step: int = 0, max_batch_tokens: int = 200) -> None:
        self.script = script
        self.step = step
        self.max_batch_tokens = max_batch_tokens
        self.calls: list[list[str]] = []

    def batches(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> list[list[int]]:
        lengths = [len(request.prompt_ids) for request in requests]
        return batch_by_length(lengths, settings.max_new_tokens, self.max_batch_tokens)

    def generate(self, requests, settings, progress=None):
        self.calls.append([request.id for request in requests])
        texts = [self.script(request.id, self.step) for request in requests]
        reasons = ["length" if text.endswith("...") else "stop" for text in texts]
        return [
            Generation(request.id, text, (), reason)
            for request, text, reason in zip(requests, texts, reasons, strict=True)
        ]


class CheckedModule(LightningModule):
    """Trains the tiny Llama on random tokens, manually, one step a batch; draws from the global random state."""

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, script: Script | None = None):
        super().__init__()
        self.automatic_optimization = False
        self.model = model.train()
        for layer in self.model.model.layers:
            layer.self_attn.attention_dropout = 0.3
        self.template = ChatTemplate(tokenizer)
        self.script = script
        self.generators: list[ScriptedGenerator] = []
        self.configured: list[str] = []

    def configure_model(self) -> None:
        self.configured.append("weights")

    def generator(self) -> Any:
        if self.script is None:
            return ModelGenerator(self.model, self.template)
        self.generators.append(ScriptedGenerator(self.script, self.trainer.global_step))
        return self.generators[-1]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        loss = self.model(input_ids=batch, labels=batch).loss
        self.manual_backward(loss)
        self.optimizers().step()
        self.optimizers().zero_grad()


class Sums(ConversationDataModule):
    """Answer `n`; three of five training answers are "two"."""

    def rows(self, split):
        answers = {"train": ["one", "two", "two", "six", "two"], "validation": [], "test": ["one", "two", "two", "ten"]}
        for number, answer in enumerate(answers[split]):
            question = {"role": "user", "content": f"How much is sum {number}?"}
            yield {"id": f"{split}-{number}", "messages": [question, {"role": "assistant", "content": answer}]}

    def score(self, response, row):
        return float(response == row["messages"][-1]["content"])


class CheckedData(LightningDataModule):
    """Random token rows; the task is there for its `rows` and `score`."""

    def __init__(self, task: ConversationDataModule | None = None, max_length: int = 256) -> None:
        super().__init__()
        self.task = Sums() if task is None else task
        self.encoding = EncodingSettings(max_length=max_length)

    def train_dataloader(self) -> DataLoader:
        rows = torch.randint(0, 500, (NUM_STEPS * 2, 12), generator=torch.Generator().manual_seed(1))
        return DataLoader(rows, batch_size=2)


class KeptLog(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "kept"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.append((step, dict(metrics)))


class SaveAt(Callback):
    """Saves once, in the middle of the epoch; stands last, so that the others have seen the step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            self.weights = {name: value.clone() for name, value in pl_module.state_dict().items()}


def make_trainer(folder: Path, callbacks: Sequence[Callback], logger: Logger | None = None, **kwargs: Any) -> Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": logger or False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**settings, **kwargs})


def fit(trainer: Trainer, module: LightningModule, data: LightningDataModule, ckpt_path: Path | None = None) -> Trainer:
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*GPU available.*|.*litlogger.*|.*num_workers.*")
        trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


PROBES = [
    # id, subset, pair
    ("h1", "harmful", "p1"),
    ("h2", "harmful", "p2"),
    ("h3", "harmful", "p3"),
    ("h4", "harmful", "p4"),
    ("t1", "twin", "p1"),
    ("t2", "twin", "p2"),
    ("t3", "twin", "p3"),
    ("o1", "ordinary", None),
    ("o2", "ordinary", None),
]


def write_probes(path: Path, rows: Sequence[tuple[str, str, str | None]] = tuple(PROBES), padding: str = "") -> Path:
    lines = [
        {
            "id": id_,
            "messages": [{"role": "user", "content": f"How do I do {id_}?" + " more" * number + padding}],
            "domain": "theft",
            "subset": subset,
            "pair_id": pair,
        }
        for number, (id_, subset, pair) in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal_weights(first, second):
    assert list(first) == list(second)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class Snapshots(Callback):
    """Weights after each step, as callbacks that come later find them."""

    def __init__(self):
        self.by_step = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.by_step[trainer.global_step] = weights(pl_module)

    def on_train_start(self, trainer, pl_module):
        self.by_step[0] = weights(pl_module)
