"""The LightningModule: a frozen, quantized base with an adapter, trained on a weighted sum of objectives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from grsap.compat import trainer_of
from grsap.data.mixture import MixtureDataModule
from grsap.data.step import StepBatch
from grsap.errors import ConfigError, ModelError
from grsap.files import hash_json
from grsap.generation import ModelGenerator
from grsap.models import BaseModel
from grsap.models.adapters import load_adapter
from grsap.models.liger import check_liger, use_liger
from grsap.models.lora import add_lora, inner_model
from grsap.models.memory import kv_bytes_per_token
from grsap.objectives import Balancer, CrossEntropy, FixedWeights, Objective, StepReport
from grsap.plugins import Stateful
from grsap.records import Source
from grsap.text.template import ChatTemplate
from grsap.training.checkpoint_checks import check_same_base, check_tensors
from grsap.training.forward import Forward
from grsap.training.gradient_step import GradientStep
from grsap.training.placement import Placement
from grsap.training.plugin_states import check_states, collect, plugins_of, restore
from grsap.training.run_length import limited_steps, planned_steps
from grsap.training.schedules import CosineWithFloor, LearningRateSchedule, learning_rate_factor
from grsap.training.settings_checks import check_settings, check_sources, check_trainer, finds_unused_parameters
from grsap.training.step_log import StepLog
from grsap.training.step_settings import StepSettings
from grsap.training.trainable_weights import TrainableWeights

MAX_KV_BYTES = 4 * 2**30
"""Maximum size of the KV cache of a check during training; the same on all devices."""
DEFAULT_STEP = StepSettings()


class SafetyFineTuning(LightningModule):
    """Fine-tunes a causal language model on task rows and replay rows.

    One item of the training loader is one optimizer step; optimization is manual. The gradient of a step is that of
    (1/N) sum_k w_k S_k, with S_k the sum of objective k over the whole step (all micro-batches and devices) and N the
    step's supervised tokens. It does not depend on how rows are divided into micro-batches.

    Args:
        base: the base model.
        lora: PEFT's settings of the adapter; null trains all weights, as in the paper.
        objectives: terms of the loss; by default cross-entropy on task rows and on replay rows.
        balancer: computes the coefficient of each objective; by default their own weights.
        optimizer: creates the optimizer of the trainable parameters; by default AdamW at 1e-4, a rate for adapters.
        schedule: learning-rate schedule.
        step: settings of an optimizer step.
        seed: seed of the adapter's initial weights and, with step and rank, of dropout.

    Attributes:
        saved_adapter: folder of a trained adapter to load, frozen, instead of a new one; not for training.
        learned_sources: sources for which an objective had a weight above 0 in the last step.
    """

    def __init__(
        self,
        base: BaseModel,
        lora: LoraConfig | None = None,
        objectives: list[Objective] | None = None,
        balancer: Balancer | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-4),
        schedule: LearningRateSchedule | None = None,
        step: StepSettings = DEFAULT_STEP,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False
        self.base = base
        self.lora = lora
        self.objectives = objectives or [CrossEntropy("task"), CrossEntropy("replay")]
        self.balancer = balancer or FixedWeights()
        self.optimizer_factory = optimizer
        self.schedule = schedule or CosineWithFloor()
        self.step_settings = step
        self.seed = seed
        self.model: PreTrainedModel | PeftModel | None = None
        self.saved_adapter: Path | None = None
        self.learned_sources: frozenset[Source] = frozenset()
        self._previous: StepReport | None = None
        self._evaluated: Tensor
        self._groups: list[dict[str, Any]] = []
        self._step: GradientStep | None = None
        self._plugin_states: dict[str, Any] | None = None
        self._log: StepLog
        check_settings(base, lora, self.objectives)

    @property
    def template(self) -> ChatTemplate:
        """The base model's chat template; loads no weights."""
        return self.base.template

    def configure_model(self) -> None:
        """Load and quantize the base, and add the adapter. Lightning calls it once the device is known."""
        if self.model is not None:
            return
        device = self.trainer.strategy.root_device
        loaded = self.base.load(
            device,
            full_precision=self.lora is None,
            reentrant_checkpointing=not finds_unused_parameters(self.trainer.strategy),
        )
        if self.step_settings.use_liger_kernel:
            use_liger(loaded)
        if self.saved_adapter is not None:
            self.model, _ = load_adapter(loaded, self.saved_adapter)
        else:
            self.model = loaded if self.lora is None else add_lora(loaded, self.lora, self.seed)
        self.model.train()
        if self.step_settings.compile:
            for layer in inner_model(self.model).get_decoder().layers:
                layer.compile(dynamic=True)

    @property
    def loaded_model(self) -> PreTrainedModel | PeftModel:
        """The model; only after `configure_model`."""
        if self.model is None:
            raise RuntimeError("the model is not loaded yet")
        return self.model

    def generator(self) -> ModelGenerator:
        """Return a generator that uses the current weights."""
        limit = 8192 if self.device.type == "cpu" else 32768
        cached = kv_bytes_per_token(inner_model(self.loaded_model).config, self.compute_dtype)
        max_batch_tokens = min(limit, max(1024, MAX_KV_BYTES // cached))
        return ModelGenerator(self.loaded_model, self.template, max_batch_tokens, self.compute_dtype)

    @cached_property
    def _forward(self) -> Forward:
        try:
            return Forward(self.loaded_model, self.objectives, self.compute_dtype, self.step_settings.chunk_size)
        except AttributeError as error:  # nn.Module would report a missing attribute `_forward`
            raise ModelError(
                f"{self.base.path}: this architecture is not supported: {error}", "Use another model"
            ) from error

    @property
    def trainable_weights(self) -> TrainableWeights:
        """The adapter's parameters, or all in full fine-tuning; only after `configure_model`."""
        return TrainableWeights(self)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Number format of the matrix products on this device."""
        return self.base.dtype_on(self.device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer of the trainable parameters, and its schedule by step."""
        optimizer = self.optimizer_factory(self.trainable_weights.parameters)
        self._groups = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
        num_steps = self.num_training_steps()
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(self.schedule, step, num_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Check before weights load that the run has a length, and that Trainer, data and plug-ins are valid.

        Raises:
            ConfigError: no setting ends the run, or the Trainer shards weights or changes their number format.
        """
        if stage == "fit":
            self.num_training_steps()
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            if isinstance(data, MixtureDataModule):
                check_sources(self.objectives, data.schedule)
                for objective in self.objectives:
                    objective.setup(data.task_rows if objective.source == "task" else data.replay_rows)
            self.balancer.check(self.objectives)
            check_states(self._plugins)
        check_trainer(self.trainer)
        if self.step_settings.use_liger_kernel:
            check_liger(self.trainer.strategy.root_device, self.base.load_config().model_type)

    def num_training_steps(self) -> int:
        """Return the optimizer steps of the whole run, at least 1.

        Raises:
            ConfigError: no setting ends the run.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        steps = planned_steps(self.trainer, limited_steps(self.trainer, data.steps_per_epoch))
        if steps is None:
            raise ConfigError(
                "neither trainer.max_epochs nor trainer.max_steps ends the run, but the learning rate needs its length",
                "Set one of them",
            )
        return max(1, steps)

    def on_fit_start(self) -> None:
        """Check the model's output layer and packing on a few tokens.

        Raises:
            ConfigError: an objective needs the base's output layer, which is trained; or packed rows attend to each
                other in this model.
            ModelError: grsap cannot compute this architecture's logits from its hidden states.
        """
        self._forward.check_head(self.base.path)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.packs_rows and not self._forward.keeps_rows_apart:
            raise ConfigError(
                f"rows that are packed into one sequence attend to each other in {self.base.path}",
                "Set data.batching.packing to off",
            )

    on_validation_start = on_test_start = on_fit_start

    def on_train_start(self) -> None:
        """Re-apply the configured optimizer hyperparameters, which a checkpoint overwrote, and restore plug-ins."""
        optimizer = self.trainer.optimizers[0]
        scheduler: Any = self.trainer.lr_scheduler_configs[0].scheduler
        scheduler.base_lrs = [settings["lr"] for settings in self._groups]
        rates = [group["lr"] for group in optimizer.param_groups]
        if not isinstance(self.schedule, Stateful):  # each call of a stateful schedule may change its state
            factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
            rates = [settings["lr"] * factor for settings, factor in zip(self._groups, factors, strict=True)]
        for group, settings, rate in zip(optimizer.param_groups, self._groups, rates, strict=True):
            group.update(settings, initial_lr=settings["lr"], lr=rate)
        parameters, placement = self.trainable_weights.parameters, Placement(self.trainer)
        self._step = GradientStep(self._forward, parameters, self.step_settings, placement, self.manual_backward)
        self._log = StepLog(self, logs_weights=not isinstance(self.balancer, FixedWeights))
        if self._plugin_states is not None:  # again, because creating the optimizer has called the schedule
            restore(self._plugins, self._plugin_states, self._checkpoint_name)
            self._plugin_states = None

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Run one optimizer step.

        Raises:
            NonFiniteLossError: a loss or the gradient is not finite; raised before weights change.
        """
        torch.manual_seed(int(hash_json([self.seed, batch.step, self.global_rank]), 16) % 2**63)
        assert self._step is not None  # since on_train_start
        weights = self.balancer.checked_weights(self.objectives, self._previous)
        self.learned_sources = frozenset(o.source for o in self.objectives if weights[o.name] > 0)
        sums = self._step.gradient(batch, weights)
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        self._step.guard(sums, self.trainer.optimizers[0], is_read=self._log.is_due(batch.step))
        learning_rate = float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        self._previous = sums.report()
        self._log.write(sums, learning_rate)

    def on_train_end(self) -> None:
        """Check the steps whose numbers have not been read yet.

        Raises:
            NonFiniteLossError: a step was not finite.
        """
        if self._step is not None:
            self._step.check()

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Add the cross-entropy of a batch of the task's validation rows."""
        self._evaluate(batch, "validation")

    def test_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Add the cross-entropy of a batch of the task's test rows."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: StepBatch, stage: str) -> None:
        num = sum(len(micro_batch.target_ids) for micro_batch in batch.micro_batches)
        total = self._forward.task_loss(batch.micro_batches)
        self._evaluated += torch.stack([total.double(), total.new_tensor(num, dtype=torch.float64)])

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._evaluated = torch.zeros(2, dtype=torch.float64, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the mean per supervised token over all devices."""
        self._log_evaluation("validation")

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        """Log the mean per supervised token over all devices."""
        self._log_evaluation("test")

    def _log_evaluation(self, stage: str) -> None:
        total, num = Placement(self.trainer).total(self._evaluated)
        self.log(f"{stage}/loss", (total / num.clamp(min=1)).float())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the last step's losses, the states of plug-ins, and the identity of the base model.

        Raises:
            NonFiniteLossError: a step since the last reading was not finite.
        """
        if self._step is not None:
            self._step.check()
        previous = self._previous
        checkpoint["previous_step"] = previous and {"step": previous.step, "losses": dict(previous.losses)}
        checkpoint["plugins"] = collect(self._plugins)
        checkpoint["base"] = self.base.content()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` saved.

        Raises:
            ModelError: the checkpoint's weights were trained on another base.
            ConfigError: a state of a balancer, schedule, objective or sampler is missing or surplus.
        """
        check_same_base(self.base, checkpoint.get("base"), self._checkpoint_name)
        previous = checkpoint.get("previous_step")
        self._previous = None if previous is None else StepReport(**previous)
        self._plugin_states = checkpoint.get("plugins", {})
        restore(self._plugins, self._plugin_states, self._checkpoint_name)

    def observe(self, rates: Mapping[str, float], step: int) -> None:
        """Pass the rates of a check to the balancer; see `Balancer.observe`."""
        self.balancer.observe(rates, step)

    @property
    def _plugins(self) -> dict[str, object]:
        return plugins_of(self, getattr(trainer_of(self), "datamodule", None))

    @property
    def _checkpoint_name(self) -> str:
        """Path of the checkpoint that is being loaded."""
        return str(getattr(trainer_of(self), "ckpt_path", None) or "The checkpoint")

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return trainable parameters only: a checkpoint holds no base weights."""
        return self.trainable_weights.of(super().state_dict(*args, **kwargs))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load trainable parameters.

        Raises:
            ModelError: the checkpoint's parameters differ from the model's, or are not finite.
        """
        check_tensors(self.state_dict(), state_dict, self._checkpoint_name)
        return super().load_state_dict(state_dict, strict=False, assign=assign)
