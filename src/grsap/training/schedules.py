"""Learning-rate schedules: a factor of the optimizer's learning rate at each step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

from grsap.errors import ConfigError
from grsap.plugins import PluginError, described, is_finite


class LearningRateSchedule(ABC):
    """Multiplies the optimizer's learning rate."""

    @abstractmethod
    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at optimizer step `step` (from 0) of `num_steps`: finite, >= 0, and usually <= 1."""


def learning_rate_factor(schedule: LearningRateSchedule, step: int, num_steps: int) -> float:
    """Return the schedule's factor at a step.

    Raises:
        PluginError: it is not a finite number of at least 0.
    """
    factor: Any = schedule.factor(step, num_steps)
    if not is_finite(factor) or factor < 0:
        shown = repr(factor) if isinstance(factor, (int, float, str)) else described(factor)
        raise PluginError(
            schedule, "factor", f"returns {shown} at step {step} of {num_steps}", "Return a finite number of at least 0"
        )
    return float(factor)


class CosineWithFloor(LearningRateSchedule):
    """Linear warm-up, then a cosine down to a floor.

    The paper goes from 2e-6 to 1e-6 with a warm-up of 0.1: `floor: 0.5, warmup_ratio: 0.1`.

    Args:
        warmup_ratio: share of the steps that warm up, in [0, 1).
        floor: factor at the end, in [0, 1].
    """

    def __init__(self, warmup_ratio: float = 0.1, floor: float = 0.1) -> None:
        if not 0 <= warmup_ratio < 1:
            raise ConfigError(f"warmup_ratio is {warmup_ratio}", "Give a share in [0, 1)")
        if not 0 <= floor <= 1:
            raise ConfigError(f"floor is {floor}", "Give a factor in [0, 1]")
        self.warmup_ratio = warmup_ratio
        self.floor = floor

    def factor(self, step: int, num_steps: int) -> float:
        """Rise to 1 over round(warmup_ratio x num_steps) steps, then fall to `floor` at the last step."""
        warmup = round(self.warmup_ratio * num_steps)
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, num_steps - 1 - warmup))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


class ConstantRate(LearningRateSchedule):
    """The optimizer's learning rate at all steps."""

    def factor(self, step: int, num_steps: int) -> float:
        """Return 1."""
        return 1.0
