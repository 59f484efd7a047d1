"""Context managers that put a model into evaluation mode and restore it exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_modes(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode (no dropout), and restore each module's mode afterwards.

    Layers of bitsandbytes are put into training mode instead, which has no other effect on them. In evaluation mode on
    a CPU with AVX512-BF16 they permanently convert their 4-bit weights to a layout that rounds the scales and has no
    gradient, so that later training would silently be wrong.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = type(module).__module__.startswith("bitsandbytes")
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Apply `evaluation_modes`, without gradients.

    Uses `no_grad`, not `inference_mode`: a buffer that a forward pass replaces (scaled rotary embeddings do) could not
    be used in training after `inference_mode`.
    """
    with evaluation_modes(model), torch.no_grad():
        yield
