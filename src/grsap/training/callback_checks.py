"""Reject callbacks, plugins and Trainer arguments that have no effect or a wrong one in grsap."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.plugins import Precision, TorchCheckpointIO

from grsap.errors import ConfigError
from grsap.objectives import Objective

_LEAVE_OUT = "Leave it out"

CALLBACKS: tuple[tuple[type[Callback], str, str], ...] = (
    (
        StochasticWeightAveraging,
        "averages weights that are never exported",
        f"{_LEAVE_OUT}; AdapterCheckpoint.save_best keeps the best checkpoint by score",
    ),
    (
        WeightAveraging,
        "writes all base weights into checkpoints, which no run can then resume from",
        f"{_LEAVE_OUT}; AdapterCheckpoint.save_best keeps the best checkpoint by score",
    ),
    (
        GradientAccumulationScheduler,
        "merges several steps into one, but each step of the plan is one optimizer step",
        "Set data.batching.global_batch_size, which is in rows and independent of memory",
    ),
    (LearningRateFinder, "needs automatic optimization", "Set model.optimizer.init_args.lr"),
    (BatchSizeFinder, "needs a batch_size to change", "Set data.batching.max_tokens_per_micro_batch"),
    (BaseFinetuning, "freezes and unfreezes weights", "Choose trained layers with model.lora.target_modules"),
    (ModelPruning, "changes the base's weights, which are not exported", _LEAVE_OUT),
    (
        SpikeDetection,
        "reads a loss that the step does not return",
        f"{_LEAVE_OUT}; a loss that is not finite ends the run, and train/loss is in metrics.csv",
    ),
)
"""Class, what it does, remedy. Subclasses are rejected too."""

ARGUMENTS: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "fast_dev_run": (bool, "writes no checkpoints and no adapter", "Use --dry-run, or set trainer.max_steps"),
    "barebones": (bool, "writes no checkpoints and no metrics", _LEAVE_OUT),
    "enable_checkpointing": (
        lambda value: value is False,
        "disables the checkpoints from which runs resume",
        f"{_LEAVE_OUT}; AdapterCheckpoint.every_n_steps sets how often one is written",
    ),
    "overfit_batches": (bool, "repeats steps, but the plan has each once", "Set data.sampler.init_args.num_rows"),
    "gradient_clip_algorithm": (bool, "has no effect", "Set model.step.max_grad_norm"),
    "model_registry": (bool, "has no effect: nothing is uploaded", _LEAVE_OUT),
    "max_epochs": (lambda value: value == 0, "trains nothing", "Give at least 1, or null with trainer.max_steps"),
    "max_steps": (lambda value: value == 0, "trains nothing", "Give at least 1, or -1 for whole epochs"),
    "limit_train_batches": (lambda value: value == 0, "trains nothing", "Give at least 1, or leave it out"),
    "num_nodes": (lambda value: value < 1, "is not a number of machines", "Give at least 1"),
    "log_every_n_steps": (
        lambda value: value is not None and value < 1,
        "logs no step",
        "Give at least 1; trainer.logger: false disables metrics.csv",
    ),
    "val_check_interval": (
        lambda value: value == 0,
        "is not an interval",
        "Give steps, or set limit_val_batches to 0 for no validation",
    ),
    "check_val_every_n_epoch": (
        lambda value: value is not None and value < 1,
        "is not an interval",
        "Give at least 1, or null to count steps over epochs",
    ),
}
"""Argument of the Trainer -> whether a value is wrong, what it does, remedy."""


def check_trainer_arguments(given: Mapping[str, Any]) -> None:
    """Check that no argument of the Trainer has a value without an effect, or with a wrong one.

    Raises:
        ConfigError: names the first such argument.
    """
    for key, (is_wrong, effect, remedy) in ARGUMENTS.items():
        if key in given and is_wrong(given[key]):
            raise ConfigError(f"trainer.{key} {_shown(given[key])} {effect}", remedy)
    for unit in ("steps", "epochs"):
        low, high = given.get(f"min_{unit}"), given.get(f"max_{unit}")
        if low is not None and high is not None and 0 <= high < low:
            raise ConfigError(f"trainer.min_{unit} {low} is more than trainer.max_{unit} {high}", "Leave one out")


def check_callbacks(trainer: Trainer, metrics: Collection[str]) -> None:
    """Check that callbacks and plugins work with manual optimization, an adapter and verified checkpoints.

    Args:
        trainer: of the run.
        metrics: metrics that a callback may monitor.

    Raises:
        ConfigError: names the callback or plugin, and what to use instead.
    """
    callbacks: list[Callback] = list(trainer.callbacks)  # type: ignore[attr-defined]
    for callback in callbacks:
        for kind, effect, remedy in CALLBACKS:
            if isinstance(callback, kind):
                raise ConfigError(f"trainer.callbacks: {type(callback).__name__} {effect}", remedy)
        if isinstance(callback, Timer) and (callback.time_remaining() or 1) <= 0:
            raise ConfigError("trainer.max_time ends the run before its first step", "Give a longer time")
    if all(_is_known(callback) for callback in callbacks):  # a user-defined callback may log further metrics
        _check_monitors(callbacks, metrics)
    _check_plugins(trainer)


def monitored_metrics(objectives: Sequence[Objective], has_validation: bool) -> list[str]:
    """Return the metrics that a callback may monitor. The rates of checks are logged, but cannot be monitored."""
    names = ["train/loss", *(f"train/loss/{objective.name}" for objective in objectives)]
    names += [f"train/{name}" for name in ("grad_norm", "learning_rate", "tokens_per_second")]
    return ["validation/loss", *names] if has_validation else names


def _check_monitors(callbacks: Sequence[Callback], metrics: Collection[str]) -> None:
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in metrics:
            why = ""
            if monitor.startswith("check/"):
                why = "; a bound on a check's rate is HarmfulnessCheck.max_harmfulness_rate with action stop"
            elif monitor == "validation/loss":
                why = "; validation/loss needs validation rows of data.task"
            raise ConfigError(
                f"trainer.callbacks: {type(callback).__name__} monitors {monitor!r}, which is not a metric of this run",
                f"Give one of {', '.join(metrics)}{why}",
            )


def _check_plugins(trainer: Trainer) -> None:
    if type(trainer.precision_plugin) is not Precision:
        raise ConfigError(
            f"trainer.plugins: {type(trainer.precision_plugin).__name__} changes number formats",
            f"{_LEAVE_OUT}: set model.base.quantization and model.base.compute_dtype",
        )
    if not isinstance(trainer.strategy.checkpoint_io, TorchCheckpointIO):
        raise ConfigError(
            f"trainer.plugins: {type(trainer.strategy.checkpoint_io).__name__} writes checkpoints in its own format or "
            "in the background, but grsap reads them back at once to verify them",
            _LEAVE_OUT,
        )


def _is_known(callback: Callback) -> bool:
    return type(callback).__module__.split(".")[0] in ("grsap", "lightning")


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
