"""What would train wrongly without a word, refused before any weights load."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy
from peft import LoraConfig

from grsap.errors import ConfigError
from grsap.models import BaseModel
from grsap.models.adapters import starts_from_base
from grsap.objectives import Objective
from grsap.training.run_length import limited_steps


def check_settings(base: BaseModel, lora: LoraConfig | None, objectives: Sequence[Objective]) -> None:
    """See that base, adapter and objectives go together.

    Raises:
        ConfigError: they do not; says which setting to change.
    """
    names = [objective.name for objective in objectives]
    if len(set(names)) < len(names):
        raise ConfigError(f"model.objectives share a name: {', '.join(names)}", "Set `name` of one of them")
    if lora is None and base.quantization != "none":
        raise ConfigError(
            f"model.lora is null while model.base.quantization is {base.quantization}: "
            "quantized weights cannot be trained",
            "Give model.lora, or set model.base.quantization to none",
        )
    if base.compute_dtype == "float16":
        raise ConfigError(
            "model.base.compute_dtype is float16, whose gradients underflow without a scaling that grsap has not",
            "Use auto, bfloat16 or float32",
        )
    if any(objective.needs_reference for objective in objectives):
        _check_base_stays(lora)
    if lora is not None and starts_from_base(lora):
        _check_start(base, str(lora.init_lora_weights))


def _check_base_stays(lora: LoraConfig | None) -> None:
    """An objective needs the base, with the adapter off: see that nothing of the base is trained."""
    if lora is None:
        raise ConfigError("An objective needs the base model, which full fine-tuning overwrites", "Give model.lora")
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


def _check_start(base: BaseModel, start: str) -> None:
    """Of an adapter that takes its own beginning out of the base's weights."""
    if base.quantization != "none" and start.startswith(("pissa", "corda")):
        raise ConfigError(
            f"model.lora.init_lora_weights {start} needs weights that are not quantized, and "
            f"model.base.quantization is {base.quantization}",
            "Leave init_lora_weights out, or set model.base.quantization to none",
        )
    if start.startswith("pissa_niter"):
        raise ConfigError(
            f"model.lora.init_lora_weights {start} begins by chance, and could not be loaded again", "Use pissa"
        )


def check_trainer(trainer: Trainer, steps_per_epoch: int | None = None) -> None:
    """See that the Trainer leaves number formats, weights and steps alone.

    Args:
        trainer: of the run.
        steps_per_epoch: of the data; None if it is not asked for.

    Raises:
        ConfigError: it would cast or shard weights, make a step something else, or never come to validate.
    """
    if trainer.gradient_clip_val is not None:
        raise ConfigError("trainer.gradient_clip_val is set", "Set model.step.max_grad_norm in its place")
    if trainer.accumulate_grad_batches != 1:
        raise ConfigError(
            "trainer.accumulate_grad_batches is set",
            "Leave it out: a step has data.batching.global_batch_size rows, in as many micro-batches as it takes",
        )
    if steps_per_epoch is not None:
        _check_validation(trainer, limited_steps(trainer, steps_per_epoch))
    if trainer.precision != "32-true":
        raise ConfigError(
            f"trainer.precision is {trainer.precision}, which would change the adapter's number format",
            "Leave it out: model.base.compute_dtype says what is computed in",
        )
    strategy = trainer.strategy
    if not isinstance(strategy, (SingleDeviceStrategy, DDPStrategy)) or isinstance(strategy, DeepSpeedStrategy):
        raise ConfigError(
            f"trainer.strategy is {type(strategy).__name__}, which shards weights; grsap does not",
            "Use ddp, or one device",
        )


def finds_unused_parameters(strategy: Strategy) -> bool:
    """Whether DDP looks for parameters without a gradient, as mixtures of experts need it."""
    return bool(getattr(strategy, "_ddp_kwargs", {}).get("find_unused_parameters"))


def _check_validation(trainer: Trainer, num_steps: int) -> None:
    """See that validation comes within an epoch of so many steps, if its interval is of steps of an epoch."""
    interval = trainer.val_check_interval
    is_within_epoch = trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches
    if isinstance(interval, int) and is_within_epoch and interval > num_steps:
        raise ConfigError(
            f"trainer.val_check_interval is {interval}, and an epoch has {num_steps} steps",
            "Set it lower, or trainer.check_val_every_n_epoch to null to count steps over epochs",
        )
