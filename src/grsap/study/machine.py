"""The machine that a plan is for. A module of its own: to read its types takes no torch."""

from __future__ import annotations

from dataclasses import dataclass

from grsap.errors import ConfigError


@dataclass(frozen=True)
class Machine:
    """What one device does, for estimates.

    Args:
        train_tflops: floating-point operations a second in training, in 10^12: about 40 % of what the maker states.
        generate_tokens_per_s: of a 7B model with many requests at once.
        num_devices: that share the work.
    """

    train_tflops: float = 350.0
    generate_tokens_per_s: float = 4000.0
    num_devices: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ConfigError(f"machine.{name} is {value}", "Give more than 0")
