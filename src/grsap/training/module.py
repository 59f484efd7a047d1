"""The LightningModule: a frozen, quantized base with an adapter, and a loss of several objectives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from grsap.compat import trainer_of
from grsap.data.mixture import MixtureDataModule
from grsap.data.step import StepBatch
from grsap.errors import ConfigError, ModelError, NonFiniteLossError
from grsap.files import hash_json
from grsap.generation import ModelGenerator
from grsap.models import BaseModel
from grsap.models.adapters import load_adapter
from grsap.models.liger import check_liger, use_liger
from grsap.models.lora import add_lora, casts_off, inner_model
from grsap.models.memory import kv_bytes_per_token
from grsap.objectives import Balancer, CrossEntropy, FixedWeights, Objective, StepReport
from grsap.records import Source
from grsap.text.template import ChatTemplate
from grsap.training.checkpoint_checks import check_same_base, check_tensors
from grsap.training.forward import Forward
from grsap.training.learned_sources import check_sources
from grsap.training.run_length import limited_steps, planned_steps
from grsap.training.schedules import CosineWithFloor, LearningRateSchedule, learning_rate_factor
from grsap.training.settings_checks import check_settings, check_trainer, finds_unused_parameters
from grsap.training.step_settings import StepSettings

MAX_KV_BYTES = 4 * 2**30
"""Keys and values that a check on the way may hold beside what training holds; the same on all devices."""
DEFAULT_STEP = StepSettings()


class SafetyFineTuning(LightningModule):
    """Fine-tunes a causal language model on task rows and replay rows.

    One item of the training loader is one optimizer step; optimization is manual. The gradient of a step is that of
    (1/N) sum_k w_k S_k, with S_k the sum of objective k over the whole step (all micro-batches and devices) and N the
    step's supervised tokens, however the rows fall into micro-batches.

    Args:
        base: the model to start from.
        lora: settings of the adapter, as PEFT has them; null trains all weights, as in the paper.
        objectives: terms of the loss; by default cross-entropy on task rows and on replay rows.
        balancer: how the terms are weighed.
        optimizer: makes the optimizer from the trainable parameters; by default AdamW at 1e-4, a rate for adapters.
        schedule: of the learning rate.
        step: how one step is made.
        seed: decides the adapter's initial weights and, with step and rank, dropout.

    Attributes:
        saved_adapter: folder of a trained adapter to load, frozen, instead of a new one; not for training.
        learned_sources: of the last step, the sources that an objective read with a weight above 0.
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
        self._learning_rate = 0.0
        self._clock = 0.0
        check_settings(base, lora, self.objectives)

    @property
    def template(self) -> ChatTemplate:
        """The base's; loads no weights."""
        return self.base.template

    def configure_model(self) -> None:
        """Load and quantize the base, and put the adapter on. Called by Lightning, once the device is known."""
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
        """Generates with the current weights."""
        limit = 8192 if self.device.type == "cpu" else 32768
        cached = kv_bytes_per_token(inner_model(self.loaded_model).config, self.compute_dtype)
        max_batch_tokens = min(limit, max(1024, MAX_KV_BYTES // cached))
        return ModelGenerator(self.loaded_model, self.template, max_batch_tokens, self.compute_dtype)

    @cached_property
    def _forward(self) -> Forward:
        try:
            return Forward(self.loaded_model, self.objectives, self.compute_dtype, self.step_settings.chunk_size)
        except AttributeError as error:  # a Module would say that it has no attribute `_forward`
            raise ModelError(
                f"{self.base.path}: this architecture is not known to grsap: {error}", "Use another model"
            ) from error

    @property
    def compute_dtype(self) -> torch.dtype:
        """Number format of the matrix products on this device."""
        return self.base.dtype_on(self.device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over trainable parameters, and its schedule by step."""
        optimizer = self.optimizer_factory([p for p in self.parameters() if p.requires_grad])
        self._groups = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
        num_steps = self.num_training_steps()
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(self.schedule, step, num_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """See that the run has an end and nothing that would make it wrong, before weights are loaded.

        Raises:
            ConfigError: it has none, or the Trainer shards weights, or changes their number format.
        """
        if stage == "fit":
            self.num_training_steps()
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            if isinstance(data, MixtureDataModule):
                check_sources(self.objectives, data.schedule)
        check_trainer(self.trainer)
        if self.step_settings.use_liger_kernel:
            check_liger(self.trainer.strategy.root_device, self.base.load_config().model_type)

    def num_training_steps(self) -> int:
        """Optimizer steps of the whole run, at least 1.

        Raises:
            ConfigError: nothing bounds it.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        steps = planned_steps(self.trainer, limited_steps(self.trainer, data.steps_per_epoch))
        if steps is None:
            raise ConfigError(
                "neither trainer.max_epochs nor trainer.max_steps ends the run, and the learning rate needs its length",
                "Set one of them",
            )
        return max(1, steps)

    def on_fit_start(self) -> None:
        """Try the model's output layer and packing out, once.

        Raises:
            ConfigError: an objective needs the base's output layer, which is trained; or packed rows would see each
                other in this model.
            ModelError: grsap does not know this architecture's way from hidden states to logits.
        """
        self._forward.check_head(self.base.path)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.packs_rows and not self._forward.keeps_rows_apart:
            raise ConfigError(
                f"rows that are packed into one sequence see each other in {self.base.path}",
                "Set data.batching.packing to off",
            )

    on_validation_start = on_test_start = on_fit_start

    def on_train_start(self) -> None:
        """Start the clock, and let the optimizer's present settings hold: a resumed state brings those of its time."""
        optimizer = self.trainer.optimizers[0]
        scheduler: Any = self.trainer.lr_scheduler_configs[0].scheduler
        scheduler.base_lrs = [settings["lr"] for settings in self._groups]
        factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
        for group, settings, factor in zip(optimizer.param_groups, self._groups, factors, strict=True):
            group.update(settings, initial_lr=settings["lr"], lr=settings["lr"] * factor)
        self._clock = time.perf_counter()

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        """One optimizer step.

        Raises:
            NonFiniteLossError: before the weights are touched.
        """
        torch.manual_seed(int(hash_json([self.seed, batch.step, self.global_rank]), 16) % 2**63)
        weights = self.balancer.checked_weights(self.objectives, self._previous)
        self.learned_sources = frozenset(o.source for o in self.objectives if weights[o.name] > 0)
        # DDP averages over devices; the step's loss is a sum over them.
        scale = float(self.trainer.world_size)
        factors = {o.name: scale * weights[o.name] / self._divisor(o.name, batch) for o in self.objectives}
        references = self._forward.references(batch.micro_batches)
        local: list[dict[str, Tensor]] = []
        with casts_off(self.loaded_model, self.compute_dtype):
            for number, (micro_batch, reference) in enumerate(zip(batch.micro_batches, references, strict=True), 1):
                with self._sync(number == len(batch.micro_batches)):
                    loss, sums = self._forward.loss(micro_batch, factors, reference)
                    self.manual_backward(loss)
                local.append(sums)
        totals = self._totals(local)
        self._update(batch, local, totals)
        self._log_step(batch, totals, weights)

    def _divisor(self, name: str, batch: StepBatch) -> int:
        """What the sum of objective `name` is divided by; an objective without tokens has the sum 0."""
        if self.step_settings.normalisation == "step":
            return max(1, sum(batch.num_targets.values()))
        source = next(objective.source for objective in self.objectives if objective.name == name)
        return max(1, batch.num_targets.get(source, 0))

    @contextmanager
    def _sync(self, last: bool) -> Iterator[None]:
        """Gradients are exchanged with the last micro-batch alone."""
        wrapper = self.trainer.strategy.model
        if last or wrapper is None or not hasattr(wrapper, "no_sync"):
            yield
        else:
            with wrapper.no_sync():  # type: ignore[operator]
                yield

    def _totals(self, local: list[dict[str, Tensor]]) -> Tensor:
        """Sum of each objective over the step, on all devices, in their order: (number of objectives,) float32."""
        totals = torch.stack([torch.stack([sums[o.name] for sums in local]).sum() for o in self.objectives])
        if self.trainer.world_size > 1:
            reduced: Tensor = self.trainer.strategy.reduce(totals, reduce_op="sum")
            return reduced
        return totals

    def _update(self, batch: StepBatch, local: list[dict[str, Tensor]], totals: Tensor) -> None:
        """Clip, check and apply the gradient."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        limit = self.step_settings.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
        # Both are the same on all ranks, so that all stop or none.
        if not (torch.isfinite(norm) & torch.isfinite(totals).all()):
            raise NonFiniteLossError(_non_finite(batch, told_by_any(_bad_rows(batch, local), self.trainer.world_size)))
        self._grad_norm = norm.detach()
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        self._learning_rate = float(optimizer.param_groups[0]["lr"])  # type: ignore[union-attr]
        optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad(set_to_none=True)  # type: ignore[union-attr]
        scheduler.step()  # type: ignore[union-attr]

    def _log_step(self, batch: StepBatch, totals: Tensor, weights: dict[str, float]) -> None:
        """Log mean losses a token, over all devices, and the speed."""
        values = dict(zip((o.name for o in self.objectives), totals.tolist(), strict=True))
        # A step without rows of a source has no mean loss of them: 0 would be taken for a loss.
        counts = {o.name: batch.num_targets.get(o.source, 0) for o in self.objectives}
        means = {name: values[name] / count for name, count in counts.items() if count}
        now = time.perf_counter()
        log = {f"train/loss/{name}": value for name, value in means.items()}
        log["train/loss"] = sum(weights[name] * values[name] / self._divisor(name, batch) for name in values)
        log["train/tokens_per_second"] = batch.num_tokens / max(1e-9, now - self._clock)
        log["train/grad_norm"] = float(self._grad_norm)
        log["train/learning_rate"] = self._learning_rate
        self._clock = now
        self._previous = StepReport(batch.step, means)
        self.log_dict(log, logger=False, on_step=True, on_epoch=False, batch_size=1)
        # Lightning would log after the step's checkpoint is written: a run killed in between would lose the numbers.
        if (batch.step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            for logger in self.trainer.loggers:
                logger.log_metrics(log, step=batch.step + 1)

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Mean cross-entropy a supervised token of the task's validation rows."""
        self._evaluate(batch, "validation")

    def test_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Mean cross-entropy a supervised token of the task's test rows."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: StepBatch, stage: str) -> None:
        num = sum(len(micro_batch.target_ids) for micro_batch in batch.micro_batches)
        total = self._forward.task_loss(batch.micro_batches)
        self._evaluated += torch.stack([total.double(), total.new_tensor(num, dtype=torch.float64)])

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._evaluated = torch.zeros(2, dtype=torch.float64, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the mean over all tokens of all devices."""
        self._log_evaluation("validation")

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        """Log the mean over all tokens of all devices."""
        self._log_evaluation("test")

    def _log_evaluation(self, stage: str) -> None:
        total, num = self._evaluated
        if self.trainer.world_size > 1:
            total, num = self.trainer.strategy.reduce(self._evaluated, reduce_op="sum")
        self.log(f"{stage}/loss", (total / num.clamp(min=1)).float())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a balancer is told at the next step, and which base the weights belong to."""
        checkpoint["previous_step"] = None if self._previous is None else asdict(self._previous)
        checkpoint["base"] = self.base.content()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse.

        Raises:
            ModelError: the base is not the one that the checkpoint's weights were trained on.
        """
        check_same_base(self.base, checkpoint.get("base"), self._checkpoint_name)
        previous = checkpoint.get("previous_step")
        self._previous = None if previous is None else StepReport(**previous)

    @property
    def _checkpoint_name(self) -> str:
        """Where the checkpoint lies that is being loaded."""
        return str(getattr(trainer_of(self), "ckpt_path", None) or "The checkpoint")

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Trainable parameters alone: a checkpoint holds no base weights."""
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in trainable}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load trainable parameters.

        Raises:
            ModelError: the checkpoint holds other parameters than this adapter has, or values that are not finite.
        """
        check_tensors(self.state_dict(), state_dict, self._checkpoint_name)
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def _bad_rows(batch: StepBatch, local: list[dict[str, Tensor]]) -> str | None:
    """Which objective is not finite on which rows of this device; None if all are."""
    for micro_batch, sums in zip(batch.micro_batches, local, strict=True):
        for name, value in sums.items():
            if not torch.isfinite(value):
                return f"{name} is {value.item()} on rows {', '.join(micro_batch.row_ids)}"
    return None


def told_by_any(message: str | None, world_size: int) -> str | None:
    """The first message of any rank. All ranks must enter."""
    if world_size == 1:
        return message
    everyone: list[str | None] = [None] * world_size
    dist.all_gather_object(everyone, message)
    return next((each for each in everyone if each is not None), None)


def _non_finite(batch: StepBatch, bad_rows: str | None) -> str:
    """Says which rows gave a loss that is not finite, on whichever device they were."""
    if bad_rows is not None:
        return f"Step {batch.step}: {bad_rows}. The weights were left as they were."
    return f"Step {batch.step}: the gradient is not finite, the losses are. Lower the learning rate or use bfloat16."
