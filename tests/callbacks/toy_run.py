"""A run small enough to be repeated many times: real Lightning, manual optimization, one loader item a step."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from safetensors.torch import save_file

from grsap.data.loading import PlannedSteps, StepLoader, step_loader
from grsap.data.plan import PlannedRow
from grsap.data.step import StepBatch
from grsap.metrics import RateEstimate, rate_estimate
from grsap.training.metrics_log import MetricsLog

STEPS_PER_EPOCH = 5
ROWS_PER_STEP = 4
TOKENS_PER_STEP = 40


class ToyAdapter(torch.nn.Module):
    """Looks like a PEFT model: a frozen base, a trained delta, dropout in between."""

    def __init__(self) -> None:
        super().__init__()
        self.base = torch.nn.Parameter(torch.ones(8), requires_grad=False)
        self.delta = torch.nn.Parameter(torch.zeros(8))
        self.dropout = torch.nn.Dropout(0.5)
        self.peft_config = {"default": SimpleNamespace(target_modules=["q_proj"], base_model_name_or_path=None)}

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return ((self.base + self.dropout(self.delta)) * rows.unsqueeze(1)).square().mean()

    def save_pretrained(self, folder: str, **kwargs: Any) -> None:
        config = self.peft_config["default"]
        (Path(folder) / "README.md").write_text("model card")
        save_file({"delta": self.delta.detach()}, Path(folder) / "adapter_model.safetensors")
        settings = {"base_model_name_or_path": config.base_model_name_or_path, **kwargs}
        (Path(folder) / "adapter_config.json").write_text(json.dumps(settings))


class ToyModule(LightningModule):
    """Trains a `ToyAdapter`; each step is seeded by its number, as the real module does. `seen` are the row ids."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False
        self.model = ToyAdapter()
        self.base = SimpleNamespace(path="toy/base", revision="r1", identity=lambda: {"path": "toy/base"})
        self.template = SimpleNamespace(hash="0123456789abcdef")
        self.seed = seed
        self.seen: list[tuple[str, ...]] = []

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        torch.manual_seed(1000 * self.seed + batch.step)
        rows = torch.tensor([float(row.index + 1) for row in batch.rows])
        loss = self.model(rows)
        self.manual_backward(loss)
        optimizer: Any = self.optimizers()
        optimizer.step()
        optimizer.zero_grad()
        self.seen.append(batch.row_ids)
        self.log("train/loss", float(batch.step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([self.model.delta], lr=0.05)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if "delta" in name}


class ToySteps(torch.utils.data.Dataset[StepBatch]):
    """Every fourth row is a replay row; 40 tokens a step, 10 of 20 supervised ones in replay rows."""

    def __getitem__(self, item: tuple[int, tuple[PlannedRow, ...]]) -> StepBatch:
        step, rows = item
        ids = tuple(f"{row.source}-{row.index}" for row in rows)
        return StepBatch(step, (), {"task": 30, "replay": 10}, TOKENS_PER_STEP, rows, ids)


class ToySampler(PlannedSteps):
    """Yields (step, rows)."""

    def __iter__(self):  # type: ignore[no-untyped-def, override]
        yield from ((planned.step, planned.rows) for planned in super().__iter__())


class ToyData(LightningDataModule):
    """Goes on from the trainer's step, as the mixture does."""

    steps_per_epoch = STEPS_PER_EPOCH

    def train_dataloader(self) -> StepLoader:
        def position() -> tuple[int, int]:
            return self.trainer.global_step, self.trainer.global_step % STEPS_PER_EPOCH

        return step_loader(ToySteps(), ToySampler(STEPS_PER_EPOCH, position, plan), 0)  # type: ignore[arg-type]


def plan(step: int) -> list[PlannedRow]:
    """Rows 4 s .. 4 s + 3; the last is a replay row."""
    first = ROWS_PER_STEP * step
    return [PlannedRow("replay" if number == 3 else "task", first + number, 0) for number in range(ROWS_PER_STEP)]


def row_ids(step: int) -> tuple[str, ...]:
    """The ids that step `step` must show."""
    first = ROWS_PER_STEP * step
    return (f"task-{first}", f"task-{first + 1}", f"task-{first + 2}", f"replay-{first + 3}")


class PlantedTaskScore(Callback):
    """Has given scores at given steps. `outcomes` are four rows, of which `score` x 4 are right."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores
        self.results: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(0 if trainer.global_step == 0 else -1)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._check(trainer.global_step)

    def _check(self, step: int) -> None:
        if step in self.scores:
            marks = [number < self.scores[step] * 4 for number in range(4)]
            outcomes = {f"row-{number}": float(mark) for number, mark in enumerate(marks)}
            self.results[step] = SimpleNamespace(
                task_score=rate_estimate(marks, "exact"), majority_baseline=0.25, outcomes=outcomes
            )

    def state_dict(self) -> dict[str, Any]:
        return {"steps": sorted(self.results)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for step in state_dict["steps"]:
            self._check(step)


class PlantedHarmfulness(PlantedTaskScore):
    """The same for harmfulness; `max_harmfulness_rate` is the bound."""

    def __init__(self, rates: dict[int, float], max_harmfulness_rate: float | None = None) -> None:
        super().__init__(rates)
        self.max_harmfulness_rate = max_harmfulness_rate
        self.judge = SimpleNamespace(is_proxy=True)

    def _check(self, step: int) -> None:
        if step in self.scores:
            marks = [number < self.scores[step] * 4 for number in range(4)]
            rate: RateEstimate = rate_estimate(marks, "planted")
            self.results[step] = SimpleNamespace(
                harmfulness_rate=rate,
                compliance_rate=rate,
                no_answer_rate=rate_estimate([False] * 4, "planted"),
                refusal_rate=rate_estimate([not mark for mark in marks], "planted"),
                incoherent_share=None,
                over_refusal_rate=None,
                over_refusal_rate_twins=None,
                over_refusal_rate_ordinary=None,
                pair_accuracy=None,
                outcomes={
                    "harmfulness_rate": {f"probe-{number}": mark for number, mark in enumerate(marks)},
                    "compliance_rate": {f"probe-{number}": mark for number, mark in enumerate(marks)},
                },
            )


class Killed(BaseException):
    """Stands for `kill -9` where a process of its own is too slow."""


class KillAfter(Callback):
    """Ends the process, so to say, when the batch of step `step` (from 0) starts."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: StepBatch, *args: Any) -> None:
        if batch.step == self.step:
            raise Killed


class SeenAtStart(Callback):
    """Notes the step at which training starts."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        self.steps.append(trainer.global_step)


def toy_trainer(run_dir: Path, callbacks: Sequence[Callback], *, max_epochs: int = 2, **kwargs: Any) -> Trainer:
    """A trainer on one CPU whose run folder is `run_dir`."""
    warnings.filterwarnings("ignore", module="lightning")
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": MetricsLog(run_dir),
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "enable_checkpointing": any("Checkpoint" in type(callback).__name__ for callback in callbacks),
    }
    return Trainer(default_root_dir=run_dir, callbacks=list(callbacks), max_epochs=max_epochs, **{**settings, **kwargs})


def toy_fit(
    run_dir: Path, callbacks: Sequence[Callback], *, checkpoint: Path | None = None, seed: int = 0, **kwargs: Any
) -> tuple[Trainer, ToyModule]:
    """Run fit, from a checkpoint folder if one is given."""
    trainer, module = toy_trainer(run_dir, callbacks, **kwargs), ToyModule(seed)
    path = None if checkpoint is None else str(checkpoint / "trainer.ckpt")
    trainer.fit(module, datamodule=ToyData(), ckpt_path=path, weights_only=True if path else None)
    return trainer, module
