"""Rows per step and tokens per forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grsap.errors import ConfigError


@dataclass(frozen=True)
class Batching:
    """Size of steps and micro-batches.

    Args:
        global_batch_size: rows per optimizer step, over all devices; at least 1. Which rows a step has does not depend
            on the number of devices.
        max_tokens_per_micro_batch: upper limit of tokens per forward pass on one device, padding included; at least
            `encoding.max_length`. It bounds memory and does not affect what is learned.
        packing: `on` concatenates several rows, without attention between them; `off` pads; `auto` packs if the base
            model can separate rows.
    """

    global_batch_size: int = 32
    max_tokens_per_micro_batch: int = 4096
    packing: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        if self.global_batch_size < 1:
            raise ConfigError(f"global_batch_size is {self.global_batch_size}", "Give at least 1")

    def check_fits(self, max_length: int) -> None:
        """Raise ConfigError if a row of `max_length` tokens would not fit a micro-batch."""
        if self.max_tokens_per_micro_batch < max_length:
            raise ConfigError(
                f"max_tokens_per_micro_batch is {self.max_tokens_per_micro_batch}, less than"
                f" encoding.max_length {max_length}",
                "Raise it, or lower encoding.max_length: rows are never split",
                part=self,
            )

    def packs(self, supported: bool) -> bool:
        """Return whether to pack rows.

        Args:
            supported: whether the base model can separate packed rows.

        Raises:
            ConfigError: packing is `on`, and the base model does not support it.
        """
        if self.packing == "on" and not supported:
            raise ConfigError(
                "packing is on, but the base model carries a state from token to token: packed rows would see"
                " each other",
                "Set it to auto or off",
                part=self,
            )
        return self.packing != "off" and supported
