"""Context managers that put a model into evaluation mode and restore it exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_modes(model: nn.Module) -> Iterator[None]:
    """Dropout off; afterwards each module has the mode it had.

    Layers of bitsandbytes are in training mode meanwhile. In evaluation mode on a CPU with AVX512-BF16 they rewrite
    their 4-bit weights for good into a layout that rounds the scales and has no gradient, so that training afterwards
    would be wrong in silence. They have no dropout: the mode changes nothing else in them.
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
    """`evaluation_modes`, and no gradients.

    Gradients are off by `no_grad`, not by `inference_mode`, because a buffer that a forward pass replaces (scaled
    rotary embeddings do) could not be used in training afterwards.
    """
    with evaluation_modes(model), torch.no_grad():
        yield
