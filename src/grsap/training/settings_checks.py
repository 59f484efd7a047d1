"""Reject configurations that would silently train wrongly, before any weights load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_warn
from peft import LoraConfig

from grsap.compat import ddp_arguments, start_method
from grsap.data.plan import Schedule
from grsap.errors import ConfigError
from grsap.models import BaseModel
from grsap.models.adapters import starts_from_base
from grsap.objectives import Objective
from grsap.plugins import described
from grsap.training.callback_checks import check_callbacks, monitored_metrics
from grsap.training.run_length import limited_steps, planned_steps
from grsap.training.schedules import learning_rate_factor


def check_settings(base: BaseModel, lora: LoraConfig | None, objectives: Sequence[Objective]) -> None:
    """Check that base, adapter and objectives are compatible.

    Raises:
        ConfigError: they are not; names the setting to change.
    """
    for objective in objectives:
        objective.check_attributes()
    names = [objective.name for objective in objectives]
    if len(set(names)) < len(names):
        raise ConfigError(f"model.objectives share a name: {', '.join(names)}", "Set `name` of one of them")
    if lora is None:
        base.check_unquantized()
    if lora is not None and lora.lora_alpha <= 0:
        raise ConfigError(
            f"model.lora.lora_alpha is {lora.lora_alpha}, but the adapter is scaled by lora_alpha / r",
            "Give more than 0",
        )
    if base.compute_dtype == "float16":
        raise ConfigError(
            "model.base.compute_dtype is float16, whose gradients underflow: grsap does not implement loss scaling",
            "Use auto, bfloat16 or float32",
        )
    if any(objective.needs_reference for objective in objectives):
        _check_base_unchanged(lora)
    if lora is not None and starts_from_base(lora):
        _check_initialization(base, str(lora.init_lora_weights))


def _check_base_unchanged(lora: LoraConfig | None) -> None:
    """Check that no base weight is trained, because an objective compares with the base (adapter off)."""
    if lora is None:
        raise ConfigError("An objective needs the base model, which full fine-tuning overwrites", "Set model.lora")
    changed = {
        "init_lora_weights": starts_from_base(lora),
        "modules_to_save": bool(lora.modules_to_save),
        "bias": lora.bias != "none",
    }
    for key, is_changed in changed.items():
        if is_changed:
            raise ConfigError(
                f"model.lora.{key} {getattr(lora, key)} changes the base's weights, and an objective needs the base",
                f"Leave {key} out, or the objective",
            )


def _check_initialization(base: BaseModel, method: str) -> None:
    """Check an initialization that modifies base weights (PiSSA, OLoRA)."""
    if base.quantization != "none" and method.startswith(("pissa", "corda")):
        raise ConfigError(
            f"model.lora.init_lora_weights {method} needs weights that are not quantized, but "
            f"model.base.quantization is {base.quantization}",
            "Leave init_lora_weights out, or set model.base.quantization to none",
        )
    if method.startswith("pissa_niter"):
        raise ConfigError(
            f"model.lora.init_lora_weights {method} is random, so that the adapter could not be loaded again",
            "Use pissa",
        )


def check_run(model: Any, data: Any, trainer: Trainer) -> None:
    """Run all checks that need rows but no weights.

    Args:
        model: the `SafetyFineTuning`.
        data: the `MixtureDataModule`, set up for `fit`.
        trainer: of the run.

    Raises:
        ConfigError: optimizer, Trainer or callbacks cannot work, or no objective learns from some rows.
        PluginError: the schedule returns an invalid factor.
    """
    check_trainer(trainer, data.steps_per_epoch)
    check_sources(model.objectives, data.schedule)
    model.balancer.check(model.objectives)
    has_validation = data.has_validation_rows and bool(trainer.limit_val_batches)
    check_callbacks(trainer, monitored_metrics(model.objectives, has_validation))
    check_optimizer(model.optimizer_factory, trainer.strategy.root_device)
    num_steps = planned_steps(trainer, limited_steps(trainer, data.steps_per_epoch))
    if num_steps == 0:
        raise ConfigError(
            f"trainer.limit_train_batches {trainer.limit_train_batches} leaves none of {data.steps_per_epoch} steps",
            "Raise it, or leave it out",
        )
    if num_steps is not None:
        for step in {0, num_steps // 2, max(0, num_steps - 1)}:
            learning_rate_factor(model.schedule, step, max(1, num_steps))


def check_sources(objectives: Sequence[Objective], schedule: Schedule) -> None:
    """Check that an objective learns from each source that has rows; warn if all its objectives have the weight 0.

    Raises:
        ConfigError: no objective reads the rows of a source.
    """
    learned = {objective.source for objective in objectives if objective.weight > 0}
    num_replay = schedule.replay_before(schedule.steps_per_epoch)
    for source, num_rows in (("task", schedule.num_rows - num_replay), ("replay", num_replay)):
        if not num_rows or source in learned:
            continue
        problem = f"an epoch has {num_rows} {source} rows, but no objective learns from them"
        if any(objective.source == source for objective in objectives):
            rank_zero_warn(f"{problem}: the weight of each that reads them is 0.")
            continue
        names = ", ".join(f"{objective.name} (source {objective.source})" for objective in objectives)
        without = "set data.replay to null and" if source == "replay" else "set"
        raise ConfigError(
            f"{problem}; model.objectives: {names}",
            f"Add an objective with the source {source}, or {without} replay_ratio to {0 if source == 'replay' else 1}",
        )


def check_optimizer(make: OptimizerCallable, device: torch.device) -> None:
    """Take one optimizer step on a scratch matrix, to find invalid hyperparameters early.

    Args:
        make: creates the optimizer of parameters (`model.optimizer`).
        device: of the run.

    Raises:
        ConfigError: the optimizer cannot be created, or cannot step.
    """
    weights = torch.nn.Parameter(torch.zeros(2, 2, device=device))
    optimizer = make([weights])
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(f"model.optimizer creates {described(optimizer)}", "Use a subclass of torch.optim.Optimizer")
    weights.grad = torch.ones_like(weights)
    try:
        optimizer.step()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"model.optimizer: {type(optimizer).__name__} cannot make a step on {device.type}: {reason}",
            "Change its arguments, or use another; it gets dense gradients and no closure",
        ) from error


def check_trainer(trainer: Trainer, steps_per_epoch: int | None = None) -> None:
    """Check that the Trainer does not change number formats, weights or steps.

    Args:
        trainer: of the run.
        steps_per_epoch: optimizer steps per epoch; None skips the check of the validation interval.

    Raises:
        ConfigError: it would cast or shard weights, change what a step is, or never validate.
    """
    if trainer.gradient_clip_val is not None:
        raise ConfigError("trainer.gradient_clip_val is set", "Set model.step.max_grad_norm instead")
    if trainer.accumulate_grad_batches != 1:
        raise ConfigError(
            "trainer.accumulate_grad_batches is set",
            "Leave it out: a step has data.batching.global_batch_size rows, in as many micro-batches as needed",
        )
    if steps_per_epoch is not None:
        _check_validation(trainer, limited_steps(trainer, steps_per_epoch))
    if trainer.precision != "32-true":
        raise ConfigError(
            f"trainer.precision is {trainer.precision}, which would change the adapter's number format",
            "Leave it out: model.base.compute_dtype sets the format of computations",
        )
    smallest = {"min_epochs": 0, "min_steps": 0, "num_sanity_val_steps": -1}
    for name, least in smallest.items():
        value = getattr(trainer, name)
        if value is not None and value < least:
            raise ConfigError(f"trainer.{name} is {value}", f"Give at least {least}, or leave it out")
    num_cpus = max(2, os.cpu_count() or 1)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > num_cpus:
        raise ConfigError(
            f"trainer.devices is {trainer.num_devices}, but this machine has {num_cpus} processor cores",
            "Give fewer: each device is a process",
        )
    strategy = trainer.strategy
    if not isinstance(strategy, (SingleDeviceStrategy, DDPStrategy)) or isinstance(strategy, DeepSpeedStrategy):
        raise ConfigError(
            f"trainer.strategy is {type(strategy).__name__}, but grsap does not support sharded weights",
            "Use ddp, or one device",
        )
    if (method := start_method(strategy)) != "popen":
        raise ConfigError(
            f"trainer.strategy starts processes by {method}, which loses the results of callbacks",
            "Use ddp",
        )


def finds_unused_parameters(strategy: Strategy) -> bool:
    """Return whether DDP searches for parameters without a gradient, which mixtures of experts need."""
    return bool(ddp_arguments(strategy).get("find_unused_parameters"))


def _check_validation(trainer: Trainer, num_steps: int) -> None:
    """Check that a validation interval within an epoch is at most its steps."""
    interval = trainer.val_check_interval
    is_within_epoch = trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches
    if isinstance(interval, int) and is_within_epoch and interval > num_steps:
        raise ConfigError(
            f"trainer.val_check_interval is {interval}, but an epoch has {num_steps} steps",
            "Lower it, or set trainer.check_val_every_n_epoch to null to count steps over epochs",
        )
