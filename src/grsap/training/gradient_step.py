"""Compute the gradient of one optimizer step, and check that it is finite before weights change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from grsap.compat import skips_non_finite_steps
from grsap.data.step import StepBatch
from grsap.errors import NonFiniteLossError
from grsap.models.lora import without_input_casts
from grsap.objectives import Objective, StepReport
from grsap.training.forward import Forward
from grsap.training.placement import Placement, first_message
from grsap.training.step_settings import StepSettings

Number = TypeVar("Number", float, Tensor)


class StepSums:
    """Loss sums and gradient norm of one step over all devices. They stay on the device until they are first read.

    Args:
        batch: of the step.
        local: for each micro-batch of this device, the sum of each objective by name, () float32.
        on_device: (K + 1,) float32: the sums of the K objectives over all devices, and the gradient norm.
        weights: coefficient of each objective, in the order of `on_device`.
        divisors: divisor of each objective's sum in the loss.
        counts: supervised tokens of each objective in this step.
    """

    def __init__(
        self,
        batch: StepBatch,
        local: Sequence[Mapping[str, Tensor]],
        on_device: Tensor,
        weights: Mapping[str, float],
        divisors: Mapping[str, int],
        counts: Mapping[str, int],
    ) -> None:
        self.step = batch.step
        self.num_tokens = batch.num_tokens
        self.weights = weights
        self.on_device = on_device
        self.counts = counts
        self._row_ids = [micro_batch.row_ids for micro_batch in batch.micro_batches]
        self._local = local
        self._divisors = divisors

    @cached_property
    def values(self) -> list[float]:
        """`on_device` on the host; the first access waits for the device."""
        values: list[float] = self.on_device.tolist()
        return values

    @property
    def is_finite(self) -> bool:
        """Whether all sums and the norm are finite; reads `values`."""
        return all(map(math.isfinite, self.values))

    def means(self, values: Sequence[Number]) -> dict[str, Number]:
        """Return the mean loss per token by objective, without objectives that have no tokens in this step."""
        return {name: value / count for (name, count), value in zip(self.counts.items(), values, strict=False) if count}

    @property
    def is_read(self) -> bool:
        """Whether `values` are on the host already."""
        return "values" in self.__dict__

    def losses_and_norm(self) -> tuple[dict[str, Any], Any]:
        """Return losses by logged key, and the gradient norm: numbers if they were read, else float32 on the device."""
        # Float64 as on the host, so that callbacks get the same float32 values on either path.
        values: Sequence[Any] = self.values if self.is_read else self.on_device.double().unbind()
        losses = {f"train/loss/{name}": value for name, value in self.means(values).items()}
        terms = zip(self.weights.values(), values, self._divisors.values(), strict=False)
        losses["train/loss"] = sum(weight * value / divisor for weight, value, divisor in terms)
        return losses if self.is_read else {key: value.float() for key, value in losses.items()}, values[-1]

    def report(self) -> StepReport:
        """Return the report for the balancer; the losses are read from the device only on access."""
        return StepReport(self.step, _Losses(self))

    def error(self, world_size: int) -> NonFiniteLossError:
        """Return the error that names the step and, if a loss is not finite, its rows; all ranks must call it."""
        found = first_message(self._bad_rows(), world_size)
        problem = f"{found}. The weights are unchanged."
        if found is None:
            problem = "the gradient is not finite, but the losses are. Lower the learning rate or use bfloat16."
        return NonFiniteLossError(f"Step {self.step}: {problem}")

    def _bad_rows(self) -> str | None:
        """Name an objective that is not finite, and its rows on this device; None if all are finite."""
        for row_ids, sums in zip(self._row_ids, self._local, strict=True):
            for name, value in sums.items():
                if not torch.isfinite(value):
                    return f"{name} is {value.item()} on rows {', '.join(row_ids)}"
        return None


class _Losses(Mapping[str, float]):
    """Mean loss per token by objective, read from the device on first access."""

    def __init__(self, sums: StepSums) -> None:
        self._sums = sums

    def __getitem__(self, name: str) -> float:
        return self._sums.means(self._sums.values)[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, count in self._sums.counts.items() if count)

    def __len__(self) -> int:
        return len(list(iter(self)))


class GradientStep:
    """Computes the gradient of a step, and prevents a non-finite one from changing the weights.

    The loss of a step is (1/N) sum_k w_k S_k, with S_k the sum of objective k over all micro-batches and devices.

    Args:
        forward: computes the losses.
        parameters: trained parameters.
        settings: of the step.
        placement: of the weights.
        backward: runs the backward pass of a loss.
    """

    def __init__(
        self,
        forward: Forward,
        parameters: Sequence[torch.nn.Parameter],
        settings: StepSettings,
        placement: Placement,
        backward: Callable[[Tensor], None],
    ) -> None:
        self._forward = forward
        self._parameters = parameters
        self._settings = settings
        self._placement = placement
        self._backward = backward
        self._unread: list[StepSums] = []
        self._has_failed: Tensor | None = None

    def gradient(self, batch: StepBatch, weights: Mapping[str, float]) -> StepSums:
        """Compute the step's gradient, reduced over devices and clipped.

        Args:
            batch: this device's rows of the step.
            weights: coefficient of each objective, by name.
        """
        objectives = self._forward.objectives
        divisors = {each.name: self._divisor(each, batch) for each in objectives}
        # DDP averages gradients over devices, but the step's loss is a sum over them.
        scale = float(self._placement.world_size)
        factors = {name: scale * weights[name] / divisor for name, divisor in divisors.items()}
        references = self._forward.references(batch.micro_batches)
        local: list[dict[str, Tensor]] = []
        with without_input_casts(self._forward.model, self._forward.dtype):
            for number, (micro_batch, reference) in enumerate(zip(batch.micro_batches, references, strict=True), 1):
                with self._placement.exchange(number == len(batch.micro_batches)):
                    loss, sums = self._forward.loss(micro_batch, factors, reference)
                    self._backward(loss)
                local.append(sums)
        totals = torch.stack([torch.stack([sums[each.name] for sums in local]).sum() for each in objectives])
        limit = self._settings.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, float("inf") if limit is None else limit)
        on_device = torch.cat([self._placement.total(totals), norm.detach().float()[None]])
        counts = {each.name: batch.num_targets.get(each.source, 0) for each in objectives}
        return StepSums(batch, local, on_device, {name: weights[name] for name in divisors}, divisors, counts)

    def guard(self, sums: StepSums, optimizer: torch.optim.Optimizer, is_read: bool) -> None:
        """Ensure that the optimizer's next step changes no weight unless this and all earlier steps are finite.

        An optimizer that can skip steps on the device reads a tensor, so that the host does not wait: all steps from
        the first bad one are skipped, until `check` raises. For other optimizers the numbers are read now.

        Args:
            sums: of the step whose gradient will be applied.
            optimizer: applies it.
            is_read: whether the numbers are read at this step anyway.

        Raises:
            NonFiniteLossError: before the weights change.
        """
        self._unread.append(sums)
        can_skip = skips_non_finite_steps(optimizer)
        if is_read or not can_skip:
            self.check()
        else:
            is_bad = ~torch.isfinite(sums.on_device).all()
            self._has_failed = is_bad if self._has_failed is None else self._has_failed | is_bad
        if can_skip:
            untyped: Any = optimizer
            untyped.found_inf = None if self._has_failed is None else self._has_failed.float()

    def check(self) -> None:
        """Read the steps since the last check; all ranks must call it.

        Raises:
            NonFiniteLossError: names the first step that was not finite; it and later ones changed no weights.
        """
        unread, self._unread, self._has_failed = self._unread, [], None
        for sums in unread:
            if not sums.is_finite:
                raise sums.error(self._placement.world_size)

    def _divisor(self, objective: Objective, batch: StepBatch) -> int:
        """Return the divisor of an objective's sum; an objective without tokens has the sum 0."""
        if self._settings.normalisation == "step":
            return max(1, sum(batch.num_targets.values()))
        return max(1, batch.num_targets.get(objective.source, 0))
