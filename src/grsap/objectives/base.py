"""Base classes of objectives, which compute per-token losses, and balancers, which compute their coefficients.

Shapes: T supervised tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from grsap.errors import ConfigError
from grsap.plugins import PluginError, described, is_finite
from grsap.records import Source
from grsap.text.encoding import EncodedRow

Head = Callable[[Tensor], Tensor]
"""The output layer: (T, H) hidden states -> (T, V) logits."""


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; inference tensors do not count it."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(frozen=True)
class TokenChunk:
    """T supervised tokens of one source: the inputs of an objective.

    Attributes:
        hidden: (T, H) last hidden states of the model, whose logits predict `targets`.
        head: the output layer.
        targets: (T,) int64 token ids.
        rows: (T,) int64, index of the row in the micro-batch.
        offsets: (T,) int64, position in the response, from 0.
        reference_hidden: (T, H) hidden states of the base model with the adapter off; None unless an objective has
            `needs_reference`.
        row_ids: ids of the micro-batch's rows, indexed by `rows`.
        versions: number of changes in place of `logits` and `log_probs` when they were computed.
    """

    hidden: Tensor
    head: Head
    targets: Tensor
    rows: Tensor
    offsets: Tensor
    reference_hidden: Tensor | None = None
    row_ids: tuple[str, ...] = ()
    versions: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def logits(self) -> Tensor:
        """(T, V) float32; computed once for all objectives."""
        logits: Tensor = self.head(self.hidden).float()
        self.versions["logits"] = _version(logits)
        return logits

    @cached_property
    def log_probs(self) -> Tensor:
        """(T, V) float32, in nats; computed once for all objectives."""
        log_probs = log_softmax(self.logits, dim=-1)
        self.versions["log_probs"] = _version(log_probs)
        return log_probs

    @cached_property
    def reference_logits(self) -> Tensor:
        """(T, V) float32 of the base model, without gradient."""
        if self.reference_hidden is None:
            raise RuntimeError("chunk.reference_logits needs `needs_reference = True` on the class of the objective")
        logits: Tensor = self.head(self.reference_hidden).detach().float()
        return logits


class Objective(ABC):
    """One term of the loss: per-token losses of one source.

    A subclass implements `token_losses`. The step sums it over all tokens of the source, all micro-batches and devices.
    A subclass with a state implements `state_dict` and `load_state_dict` (`grsap.plugins.Stateful`).

    Args:
        source: source of the rows, `task` or `replay`.
        weight: its coefficient, >= 0.
        name: its name in logs, `train/loss/<name>`.
    """

    needs_reference: bool = False

    def __init__(self, source: Source, weight: float, name: str) -> None:
        if not is_finite(weight) or weight < 0:
            raise ConfigError(f"weight of objective {name} is {weight}", "Give a finite number of at least 0")
        self.source: Source = source
        self.weight = weight
        self.name = name

    def setup(self, rows: Sequence[EncodedRow]) -> None:  # noqa: B027
        """Prepare for training on `rows`, all rows of `source`; called before weights load. By default nothing."""

    @abstractmethod
    def token_losses(self, chunk: TokenChunk) -> Tensor:
        """Return the (T,) float32 losses of the chunk's tokens."""

    def checked_losses(self, chunk: TokenChunk) -> Tensor:
        """Call `token_losses` and check the result: (T,).

        Raises:
            PluginError: it is not one loss per token, is on another device than the chunk, or has no gradient; or the
                chunk's logits or log-probabilities were changed in place.
        """
        losses: Any = self.token_losses(chunk)
        for name, version in chunk.versions.items():
            if _version(getattr(chunk, name)) != version:
                remedy = f"Other objectives read the same tensor: change chunk.{name}.clone()"
                raise PluginError(self, "token_losses", f"changes chunk.{name} in place", remedy)
        num = len(chunk.targets)
        if not isinstance(losses, Tensor) or losses.shape != (num,) or not losses.is_floating_point():
            kind = f" of {losses.dtype}" if isinstance(losses, Tensor) else ""
            raise PluginError(
                self,
                "token_losses",
                f"returns {described(losses)}{kind} for {num} tokens",
                "Return a float tensor of shape (T,), one loss per token; grsap averages them",
            )
        if losses.device != chunk.hidden.device:
            raise PluginError(
                self,
                "token_losses",
                f"returns losses on {losses.device}, but the chunk is on {chunk.hidden.device}",
                "Leave them on the chunk's device: create tensors with device=chunk.hidden.device, without cpu()",
            )
        if self.weight > 0 and chunk.hidden.requires_grad and torch.is_grad_enabled() and not losses.requires_grad:
            raise PluginError(
                self,
                "token_losses",
                "returns losses without a gradient",
                "Compute them from chunk.logits, chunk.log_probs or chunk.hidden, without detach, item or no_grad",
            )
        return losses

    def check_attributes(self) -> None:
        """Check the attributes that the constructor sets.

        Raises:
            PluginError: source, weight or name is missing or wrong.
        """
        is_known = {
            "source": getattr(self, "source", None) in get_args(Source),
            "weight": is_finite(getattr(self, "weight", None)) and self.weight >= 0,
            "name": isinstance(getattr(self, "name", None), str) and bool(self.name),
        }
        for name, is_right in is_known.items():
            if not is_right:
                value = f"{name} {getattr(self, name)!r}" if hasattr(self, name) else f"no {name}"
                raise PluginError(
                    self,
                    "__init__",
                    f"sets {value}",
                    f"Call super().__init__(source, weight, name), with a source of {', '.join(get_args(Source))}",
                )


@dataclass(frozen=True)
class StepReport:
    """The losses of one step.

    Attributes:
        step: optimizer step, from 0.
        losses: objective name -> mean loss per token over all devices; without objectives whose source had no rows.
    """

    step: int
    losses: Mapping[str, float] = field(default_factory=dict)


class Balancer(ABC):
    """Computes the coefficient of each objective before each step.

    A subclass with a state implements `state_dict` and `load_state_dict` (`grsap.plugins.Stateful`).
    """

    def check(self, objectives: Sequence[Objective]) -> None:
        """Check on a copy, before weights load, that `weights` returns a coefficient for each objective.

        Raises:
            PluginError: see `checked_weights`.
        """
        try:
            trial = deepcopy(self)
        except Exception:  # cannot be copied, such as an open file; the first step checks it then
            return
        trial.checked_weights(objectives, None)

    def observe(self, rates: Mapping[str, float], step: int) -> None:  # noqa: B027
        """Receive the results of a check; called on all ranks with equal values. By default nothing.

        Args:
            rates: logged key, such as `check/harmfulness_rate/harmful` -> value in [0, 1].
            step: optimizer steps done.
        """

    def checked_weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        """Call `weights` and check the result.

        Raises:
            PluginError: an objective is missing or unknown, or a coefficient is not a finite number >= 0.
        """
        weights: Any = self.weights(objectives, previous)
        names = [objective.name for objective in objectives]
        remedy = f"Return a dict with a finite number of at least 0, not a tensor, for each of {', '.join(names)}"
        if not isinstance(weights, Mapping):
            raise PluginError(self, "weights", f"returns {described(weights)}", remedy)
        if set(weights) != set(names):
            keys = ", ".join(key if isinstance(key, str) else described(key) for key in weights)
            raise PluginError(self, "weights", f"returns weights of {keys or 'nothing'}", remedy)
        for name, value in weights.items():
            if not is_finite(value) or value < 0:
                shown = repr(value) if isinstance(value, (str, int, float)) else described(value)
                raise PluginError(self, "weights", f"returns {shown} for {name}", remedy)
        return {name: float(weights[name]) for name in names}

    @abstractmethod
    def weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        """Return the coefficient of each objective by name; called before the first micro-batch of a step.

        Args:
            objectives: objectives of the run.
            previous: report of the previous step; None at the first step.
        """
