"""What would train wrongly, refused before any weights load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)
from peft import LoraConfig
from tests.training.conftest import train

from grsap.errors import ConfigError
from grsap.models import BaseModel
from grsap.objectives import CrossEntropy, KLToBase
from grsap.training import SafetyFineTuning, StepSettings
from grsap.training.settings_checks import check_trainer


@pytest.fixture
def base(tiny_base_path: Path) -> BaseModel:
    return BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")


def trainer(strategy: type[Strategy], precision: str = "32-true") -> SimpleNamespace:
    return SimpleNamespace(
        precision=precision,
        strategy=strategy.__new__(strategy),
        gradient_clip_val=None,
        accumulate_grad_batches=1,
        val_check_interval=7,
        check_val_every_n_epoch=1,
        limit_val_batches=1.0,
        limit_train_batches=1.0,
        accelerator=CPUAccelerator(),
        num_devices=1,
        min_epochs=None,
        min_steps=None,
        num_sanity_val_steps=0,
    )


@pytest.mark.parametrize("strategy", [SingleDeviceStrategy, DDPStrategy])
def test_each_device_holds_the_whole_model(strategy: type[Strategy]) -> None:
    check_trainer(trainer(strategy))  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_shards_are_refused(strategy: type[Strategy]) -> None:
    message = f"trainer.strategy is {strategy.__name__}, but grsap does not support sharded weights"
    with pytest.raises(ConfigError, match=message):
        check_trainer(trainer(strategy))  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"chunk_size": 0}, {"chunk_size": -4}, {"max_grad_norm": 0.0}])
def test_a_step_without_tokens_or_movement_is_refused(settings: dict[str, float]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        StepSettings(**settings)  # type: ignore[arg-type]


def test_kernels_that_cannot_be_compiled_are_not() -> None:
    with pytest.raises(ConfigError, match="use_liger_kernel are both on"):
        StepSettings(compile=True, use_liger_kernel=True)


def test_fused_kernels_are_refused_before_weights_load_where_there_is_no_gpu(
    base: BaseModel, replay_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseModel, "load", lambda *_, **__: pytest.fail("weights were loaded"))
    with pytest.raises(ConfigError, match="use_liger_kernel needs a GPU, and the model is on cpu"):
        train(base, replay_path, step=StepSettings(use_liger_kernel=True))


def test_what_makes_a_step_something_else_is_refused() -> None:
    one = trainer(SingleDeviceStrategy)
    check_trainer(one, steps_per_epoch=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="val_check_interval is 7, but an epoch has 6 steps"):
        check_trainer(one, steps_per_epoch=6)  # type: ignore[arg-type]
    one.check_val_every_n_epoch = None
    check_trainer(one, steps_per_epoch=6)  # type: ignore[arg-type]
    one.accumulate_grad_batches = 2
    with pytest.raises(ConfigError, match=r"accumulate_grad_batches is set. Leave it out: .*global_batch_size"):
        check_trainer(one)  # type: ignore[arg-type]
    one.gradient_clip_val = 1.0
    with pytest.raises(ConfigError, match=r"Set model\.step\.max_grad_norm"):
        check_trainer(one)  # type: ignore[arg-type]


def test_an_adapter_that_changes_its_base_is_refused_where_the_base_is_needed(base: BaseModel) -> None:
    lora = LoraConfig(r=4, init_lora_weights="pissa_niter_4")
    with pytest.raises(ConfigError, match="pissa_niter_4 changes the base's weights, and an objective needs the base"):
        SafetyFineTuning(base, lora, [CrossEntropy("task"), KLToBase()])
    with pytest.raises(ConfigError, match=r"not quantized, but model\.base\.quantization is nf4"):
        SafetyFineTuning(replace(base, quantization="nf4"), lora)
    with pytest.raises(ConfigError, match="pissa_niter_4 is random"):
        SafetyFineTuning(base, lora)
    for setting in ({"bias": "lora_only"}, {"modules_to_save": ["lm_head"]}):
        with pytest.raises(ConfigError, match=f"{next(iter(setting))} .* changes the base's weights"):
            SafetyFineTuning(base, LoraConfig(r=4, **setting), [CrossEntropy("task"), KLToBase()])


def test_settings_that_contradict_each_other_are_refused_at_once(base: BaseModel, tiny_base_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quantization is nf4, but full fine-tuning"):
        SafetyFineTuning(BaseModel(str(tiny_base_path)))
    with pytest.raises(ConfigError, match="share a name: task_cross_entropy, task_cross_entropy"):
        SafetyFineTuning(base, objectives=[CrossEntropy("task"), CrossEntropy("task")])
    with pytest.raises(ConfigError, match="needs the base model"):
        SafetyFineTuning(base, objectives=[CrossEntropy("task"), KLToBase()])
    with pytest.raises(ConfigError, match="float16, whose gradients underflow"):
        SafetyFineTuning(replace(base, compute_dtype="float16"), LoraConfig(r=4))
