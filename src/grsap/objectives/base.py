"""What a loss is made of: objectives that give a loss a token, and a balancer that weighs them.

Shapes: T supervised tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.nn.functional import log_softmax

from grsap.errors import ConfigError
from grsap.records import Source

Head = Callable[[Tensor], Tensor]
"""The output layer: (T, H) hidden states -> (T, V) logits."""


@dataclass(frozen=True)
class TokenChunk:
    """T supervised tokens of one source, with what an objective may look at.

    Attributes:
        hidden: (T, H) last hidden states of the model, whose logits predict `targets`.
        head: the output layer.
        targets: (T,) int64 token ids.
        rows: (T,) int64, index of the row in the micro-batch.
        offsets: (T,) int64, place in the response, from 0.
        reference_hidden: (T, H) of the base model with the adapter off; None unless an objective asked for it.
    """

    hidden: Tensor
    head: Head
    targets: Tensor
    rows: Tensor
    offsets: Tensor
    reference_hidden: Tensor | None = None

    @cached_property
    def logits(self) -> Tensor:
        """(T, V) float32; computed once for all objectives."""
        logits: Tensor = self.head(self.hidden).float()
        return logits

    @cached_property
    def log_probs(self) -> Tensor:
        """(T, V) float32, in nats; computed once for all objectives."""
        return log_softmax(self.logits, dim=-1)

    @cached_property
    def reference_logits(self) -> Tensor:
        """(T, V) float32 of the base model, without gradient."""
        if self.reference_hidden is None:
            raise RuntimeError("reference_logits was read by an objective whose needs_reference is False")
        logits: Tensor = self.head(self.reference_hidden).detach().float()
        return logits


class Objective(ABC):
    """One term of the loss: a loss a token over the tokens of one source.

    A subclass writes `token_losses`. The step sums it over all tokens of the source, all micro-batches and devices.

    Args:
        source: which rows it looks at.
        weight: its coefficient, >= 0.
        name: its name in logs, `train/loss/<name>`.
    """

    needs_reference: bool = False

    def __init__(self, source: Source, weight: float, name: str) -> None:
        if not weight >= 0:
            raise ConfigError(f"weight of objective {name} is {weight}", "Give a number >= 0")
        self.source: Source = source
        self.weight = weight
        self.name = name

    @abstractmethod
    def token_losses(self, chunk: TokenChunk) -> Tensor:
        """(T,) float32 losses of the chunk's tokens."""


@dataclass(frozen=True)
class StepReport:
    """What the last step gave.

    Attributes:
        step: which step it was.
        losses: mean loss a token, over all devices, by objective; an objective whose source had no rows has none.
    """

    step: int
    losses: Mapping[str, float] = field(default_factory=dict)


class Balancer(ABC):
    """Decides how several objectives become one update."""

    @abstractmethod
    def weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        """The coefficient of each objective, by name, asked for before the first micro-batch of a step.

        Args:
            objectives: those of the run.
            previous: the last step's report; None at the first step.
        """
