"""The weights that training changes, of a module whose other weights are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class TrainableWeights:
    """The parameters of a module that require a gradient: those of an adapter, or all.

    Args:
        module: module with loaded weights.

    Attributes:
        named: name -> parameter, in the module's order.
    """

    def __init__(self, module: nn.Module) -> None:
        self.named = {name: value for name, value in module.named_parameters() if value.requires_grad}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters, in the module's order."""
        return list(self.named.values())

    def of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a module's `state_dict` that is trained."""
        return {name: value for name, value in state.items() if name in self.named}

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies in CPU memory."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.named.items()}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Copy the values of a snapshot into the parameters."""
        for name, value in self.named.items():
            value.copy_(snapshot[name])
