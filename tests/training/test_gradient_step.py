"""A step that is not finite never changes weights, also where its numbers are read later."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from tests.training.conftest import Questions, train, weights
from torch import Tensor, nn

from grsap.data import Batching, MixtureDataModule, RatioSampler, ReplayDataModule
from grsap.errors import NonFiniteLossError
from grsap.models import BaseModel
from grsap.objectives import CrossEntropy, Objective, TokenChunk
from grsap.text.encoding import EncodingSettings
from grsap.training import SafetyFineTuning, StepSettings
from grsap.training.gradient_step import GradientStep, StepSums
from grsap.training.trainable_weights import TrainableWeights


class BreaksAt(CrossEntropy):
    """Gives NaN at one call of `token_losses`: with one chunk a step, at one step."""

    def __init__(self, call: int) -> None:
        super().__init__("task")
        self.call, self.calls = call, 0

    def token_losses(self, chunk: TokenChunk) -> Tensor:
        losses = super().token_losses(chunk)
        self.calls += 1
        return losses * float("nan") if self.calls == self.call + 1 else losses


def terms(call: int) -> list[Objective]:
    return [BreaksAt(call), CrossEntropy("replay")]


SETTINGS: dict[str, Any] = {"batch_size": 4, "step": StepSettings(chunk_size=1024)}


def fused(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.01, fused=True)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[StepSums]:
    """The sums of each step, as the guard gets them."""
    sums: list[StepSums] = []
    guard = GradientStep.guard

    def noting(self: GradientStep, given: StepSums, *args: Any, **kwargs: Any) -> None:
        sums.append(given)
        guard(self, given, *args, **kwargs)

    monkeypatch.setattr(GradientStep, "guard", noting)
    return sums


def failed_run(
    base: BaseModel, replay_path: str, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[str, Tensor]:
    """The error of a run of five steps whose third breaks, and the weights that it leaves."""
    made: list[SafetyFineTuning] = []
    setup = SafetyFineTuning.setup
    monkeypatch.setattr(SafetyFineTuning, "setup", lambda self, stage: (made.append(self), setup(self, stage))[1])
    with pytest.raises(NonFiniteLossError) as caught:
        train(base, replay_path, objectives=terms(2), max_steps=5, **SETTINGS, **settings)
    return str(caught.value), weights(made[-1])


def weights_of_two_steps(base: BaseModel, replay_path: str, optimizer: Any) -> torch.Tensor:
    """The weights before the step that fails in `failed_run`."""
    return weights(train(base, replay_path, objectives=terms(9), max_steps=2, optimizer=optimizer, **SETTINGS))


def test_an_optimizer_that_skips_on_the_device_is_read_at_the_end_and_left_the_weights_of_the_last_good_step(
    base: BaseModel, replay_path: str, monkeypatch: pytest.MonkeyPatch, seen: list[StepSums]
) -> None:
    read_before_the_end: list[bool] = []
    end = SafetyFineTuning.on_train_end
    monkeypatch.setattr(
        SafetyFineTuning,
        "on_train_end",
        lambda self: (read_before_the_end.extend(each.is_read for each in seen), end(self))[1],
    )
    good = weights_of_two_steps(base, replay_path, fused)
    assert read_before_the_end == [False, False]
    seen.clear()
    message, left = failed_run(base, replay_path, monkeypatch, optimizer=fused)
    assert message.startswith("Step 2: task_cross_entropy is nan on rows ")
    assert message.endswith(". The weights are unchanged.")
    assert [each.step for each in seen] == [0, 1, 2, 3, 4]
    assert torch.equal(left, good)


def test_another_optimizer_is_stopped_at_the_step_itself(
    base: BaseModel, replay_path: str, monkeypatch: pytest.MonkeyPatch, seen: list[StepSums]
) -> None:
    optimizer = partial(torch.optim.AdamW, lr=0.01)
    good = weights_of_two_steps(base, replay_path, optimizer)
    seen.clear()
    message, left = failed_run(base, replay_path, monkeypatch, optimizer=optimizer)
    assert message.startswith("Step 2: task_cross_entropy is nan on rows ")
    assert [each.step for each in seen] == [0, 1, 2]
    assert torch.equal(left, good)


def test_no_checkpoint_is_written_after_a_step_that_was_not_finite(base: BaseModel, replay_path: str) -> None:
    module = train(base, replay_path, objectives=terms(9), optimizer=fused, **SETTINGS)
    step = module._step
    assert step is not None
    batch = module.trainer.datamodule.step_batch(0, 0, 1)  # type: ignore[attr-defined]
    bad = torch.tensor([1.0, float("inf")])
    sums = StepSums(batch, [{} for _ in batch.micro_batches], bad, {}, {}, {})
    step.guard(sums, module.trainer.optimizers[0], is_read=False)
    with pytest.raises(NonFiniteLossError, match=r"Step 0: the gradient is not finite, but the losses are\."):
        module.on_save_checkpoint({})


def test_loggers_and_callbacks_see_the_same_numbers_whenever_they_are_read(
    base: BaseModel, replay_path: str, tmp_path: Path
) -> None:
    """Every second step is logged; the steps between stay on the device, where callbacks find the same float32."""

    class Notes(Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            self.losses.append(float(trainer.callback_metrics["train/loss"]))

    def run(every: int) -> tuple[list[float], list[str]]:
        notes = Notes()
        module = SafetyFineTuning(base, lora=None, optimizer=fused)
        data = MixtureDataModule(
            Questions(), ReplayDataModule(replay_path), RatioSampler(0.25), base,
            Batching(global_batch_size=4, max_tokens_per_micro_batch=1024), EncodingSettings(max_length=100),
        )  # fmt: skip
        Trainer(
            max_steps=4, accelerator="cpu", devices=1, logger=CSVLogger(tmp_path, name=str(every)), callbacks=[notes],
            log_every_n_steps=every, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False,
        ).fit(module, data)  # fmt: skip
        (file,) = (tmp_path / str(every)).rglob("metrics.csv")
        heading, *lines = file.read_text().splitlines()
        keep = [i for i, name in enumerate(heading.split(",")) if name != "train/tokens_per_second"]
        return notes.losses, [",".join(line.split(",")[i] for i in keep) for line in lines]

    each, lines_of_each = run(1)
    second, lines_of_second = run(2)
    assert second == each
    assert lines_of_second == lines_of_each[1::2]


def test_a_snapshot_of_the_trained_weights_comes_back_and_frozen_ones_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    trained = TrainableWeights(model)
    assert list(trained.named) == ["1.weight", "1.bias"]
    kept = trained.snapshot()
    before = model[1].weight.clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    frozen = model[0].weight.clone()
    trained.restore(kept)
    assert torch.equal(model[1].weight, before)
    assert torch.equal(model[0].weight, frozen)
    assert set(trained.of(model.state_dict())) == {"1.weight", "1.bias"}
