"""The weights that training changes, of a module whose other weights are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class TrainableWeights:
    """The parameters of a module that require a gradient, by name; those of an adapter, or all.

    Args:
        module: whose weights are loaded.
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
        """Copy them into the processor's memory."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.named.items()}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Put the values of a snapshot back, in place."""
        for name, value in self.named.items():
            value.copy_(snapshot[name])
