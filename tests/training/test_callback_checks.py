"""Lightning's callbacks, plugins and arguments that cannot work here: refused by name, before weights load."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins import AsyncCheckpointIO
from lightning.pytorch.strategies import DDPStrategy

from grsap.errors import ConfigError
from grsap.objectives import CrossEntropy
from grsap.training.callback_checks import (
    ARGUMENTS,
    CALLBACKS,
    check_callbacks,
    check_trainer_arguments,
    monitored_metrics,
)
from grsap.training.settings_checks import check_optimizer, check_trainer

METRICS = monitored_metrics([CrossEntropy("task")], has_validation=False)

WORKING = {
    "BasePredictionWriter", "Callback", "Checkpoint", "DeviceStatsMonitor", "EarlyStopping", "LambdaCallback",
    "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint", "ProgressBar",
    "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "Timer", "TQDMProgressBar",
}  # fmt: skip
"""Those that keep to what they promise beside grsap's own."""


def trainer_with(*callbacks: Callback, **arguments: Any) -> Trainer:
    settings = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu", "devices": 1, **arguments}
    return Trainer(callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False, **settings)


def test_each_callback_of_lightnings_is_known_to_work_or_refused() -> None:
    refused = {
        name
        for name in lightning_callbacks.__all__
        if any(issubclass(getattr(lightning_callbacks, name), kind) for kind, *_ in CALLBACKS)
    }
    assert refused | WORKING == set(lightning_callbacks.__all__)
    assert not refused & WORKING


@pytest.mark.parametrize(("kind", "effect", "remedy"), CALLBACKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_callback_that_cannot_work_is_refused_with_what_to_do(kind: type[Callback], effect: str, remedy: str) -> None:
    made = type(f"My{kind.__name__}", (kind,), {"__init__": lambda self: None, "on_exception": lambda *_: None})
    trainer = trainer_with()
    trainer.callbacks = [made()]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError) as caught:
        check_callbacks(trainer, METRICS)
    assert str(caught.value) == f"trainer.callbacks: My{kind.__name__} {effect}. {remedy}."


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (EarlyStopping("val_loss"), "EarlyStopping monitors 'val_loss', which is not a metric of this run. Give one"),
        (ModelCheckpoint("work", monitor="val_loss"), "ModelCheckpoint monitors 'val_loss', which is not a metric"),
        (EarlyStopping("validation/loss"), "; validation/loss needs validation rows of data.task."),
        (EarlyStopping("check/task_score/test"), "; a bound on a check's rate is HarmfulnessCheck.max_harmful"),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_exist_is_refused_with_those_that_do(callback: Callback, told: str) -> None:
    trainer = trainer_with(callback, enable_checkpointing=True)
    with pytest.raises(ConfigError) as caught:
        check_callbacks(trainer, METRICS)
    assert told in str(caught.value)


def test_a_metric_that_exists_passes_and_so_does_one_that_a_callback_of_ones_own_may_log() -> None:
    check_callbacks(trainer_with(EarlyStopping("train/loss/task_cross_entropy")), METRICS)
    check_callbacks(
        trainer_with(EarlyStopping("validation/loss")), monitored_metrics([CrossEntropy("task")], has_validation=True)
    )

    class Own(Callback):
        """Logs a metric."""

    check_callbacks(trainer_with(EarlyStopping("my/metric"), Own()), METRICS)


def test_plugins_that_write_or_compute_otherwise_are_refused() -> None:
    with pytest.raises(ConfigError, match="AsyncCheckpointIO writes checkpoints in its own format"):
        check_callbacks(trainer_with(plugins=[AsyncCheckpointIO()]), METRICS)
    with pytest.raises(ConfigError, match="MixedPrecision changes number formats"):
        check_callbacks(trainer_with(precision="bf16-mixed"), METRICS)


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_time ends the run before its first step"):
        check_callbacks(trainer_with(max_time={"hours": -1}), METRICS)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("fast_dev_run", (True, 1)),
        ("barebones", (True,)),
        ("enable_checkpointing", (False,)),
        ("overfit_batches", (1, 0.5)),
        ("gradient_clip_algorithm", ("norm",)),
        ("model_registry", ("name",)),
        ("max_epochs", (0,)),
        ("max_steps", (0,)),
        ("limit_train_batches", (0, 0.0)),
        ("num_nodes", (0, -1)),
        ("log_every_n_steps", (0, -1)),
        ("val_check_interval", (0, 0.0)),
        ("check_val_every_n_epoch", (0, -1)),
    ],
)
def test_arguments_without_an_effect_or_with_a_wrong_one_are_refused(key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^trainer\.{key} "):
            check_trainer_arguments({key: value})


def test_each_refused_argument_is_tried_and_lightnings_defaults_pass() -> None:
    defaults = {name: each.default for name, each in inspect.signature(Trainer).parameters.items()}
    assert set(ARGUMENTS) < set(defaults)
    check_trainer_arguments(defaults)


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.min_steps 3 is more than trainer\.max_steps 2"):
        check_trainer_arguments({"min_steps": 3, "max_steps": 2})
    check_trainer_arguments({"min_steps": 3, "max_steps": -1, "min_epochs": 1, "max_epochs": 1})


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_that_are_not_started_anew_are_refused(method: Any) -> None:
    with pytest.raises(ConfigError, match=f"trainer.strategy starts processes by {method}"):
        check_trainer(trainer_with(strategy=DDPStrategy(start_method=method), devices=2))


def test_more_processes_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices is 1000, but this machine has \d+ processor cores"):
        check_trainer(trainer_with(strategy="ddp", devices=1000))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (torch.optim.LBFGS, "LBFGS cannot make a step on cpu: TypeError"),
        (torch.optim.SparseAdam, "SparseAdam cannot make a step on cpu: RuntimeError"),
        (lambda parameters: torch.optim.AdamW(parameters, capturable=True), "AdamW cannot make a step on cpu: Asser"),
        (lambda parameters: "text", "model.optimizer creates a str"),
    ],
)
def test_an_optimizer_that_cannot_make_a_step_is_refused(make: Callable[..., Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_optimizer(make, torch.device("cpu"))


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adafactor", "Muon", "RMSprop", "NAdam", "ASGD", "Rprop"])
def test_ordinary_optimizers_pass(name: str) -> None:
    check_optimizer(lambda parameters: getattr(torch.optim, name)(parameters, lr=0.1), torch.device("cpu"))
