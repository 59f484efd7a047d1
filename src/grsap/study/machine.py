"""The machine that a plan is for. A separate module, so that importing its types does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from grsap.errors import ConfigError


@dataclass(frozen=True)
class Machine:
    """Speed of a device, for estimates.

    Args:
        train_tflops: speed in training, in 10^12 floating-point operations per second: about 40 % of the nominal value.
        generate_tokens_per_s: speed of a 7B model with many concurrent requests, in tokens per second.
        num_devices: number of devices that share the work.
    """

    train_tflops: float = 350.0
    generate_tokens_per_s: float = 4000.0
    num_devices: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ConfigError(f"machine.{name} is {value}", "Give more than 0")
