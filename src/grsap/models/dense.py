"""Linear layers on a CPU as plain matrix products, for passes without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn.functional import linear

from grsap.compat import onednn_linear
from grsap.models.quantized import dequantized

Product = Callable[[Tensor], Tensor]


@contextmanager
def dense(model: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Inside, linear layers on a processor compute by weights that are prepared once; for evaluation mode.

    4-bit layers hold their weights dequantized, in their compute dtype, instead of dequantizing them at each call: the
    numbers are the same. In float32 weights are also laid out for oneDNN, whose products of few rows take half the time
    of the default ones, and a LoRA adapter that is on is added to them; both round otherwise by some 1e-7. In bf16 an
    adapter would be lost in rounding, and stays apart. It takes the model's size in the compute dtype. Layers on a GPU,
    whose kernels are fast, are left alone; weights are not touched.

    Args:
        model: with or without an adapter.
        dtype: that autocast computes in; None or float32 leaves it to the weights.
    """
    changed: list[nn.Module] = []
    covered: set[nn.Module] = set()
    in_full = dtype in (None, torch.float32)
    try:
        for layer in model.modules():  # an adapter's layer precedes the one that it wraps
            product = None if layer in covered else _product(layer, in_full)
            if product is not None:
                covered.add(layer.get_base_layer() if isinstance(layer, LoraLayer) else layer)
                layer.forward = product
                changed.append(layer)
        yield
    finally:
        for layer in changed:
            layer.__dict__.pop("forward", None)


def _product(layer: nn.Module, in_full: bool) -> Product | None:
    """The layer's replacement; None to keep it."""
    base: Any = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    if type(base) not in (nn.Linear, Linear4bit) or base.weight.device.type != "cpu":
        return None
    if "forward" in layer.__dict__:  # another library's hook
        return None
    if isinstance(layer, LoraLayer):
        names = [name for name in layer.active_adapters if name in layer.lora_A]
        if layer.disable_adapters or layer.merged or layer.lora_variant or any(map(layer.lora_bias.get, names)):
            return None
    elif type(base) is nn.Linear and not in_full:
        return None
    weights = dequantized(base) if isinstance(base, Linear4bit) else base.weight.detach()
    if in_full and weights.dtype == torch.float32:
        if isinstance(layer, LoraLayer):
            adapted: Any = layer
            weights = torch.stack([weights, *(adapted.get_delta_weight(name).detach() for name in names)]).sum(0)
        return _laid_out(weights, base.bias)
    return None if isinstance(layer, LoraLayer) else partial(_plain, weights, base.bias)


def _laid_out(weights: Tensor, bias: Tensor | None) -> Product:
    """A product by oneDNN where PyTorch has it, as its compiler would choose for weights that do not change."""
    onednn = onednn_linear()
    if onednn is None:
        return partial(_plain, weights, bias)
    reorder, linear_pointwise = onednn
    prepared = reorder(weights, None)

    def product(x: Tensor) -> Tensor:
        result: Tensor = linear_pointwise(x.to(torch.float32), prepared, bias, "none", [], "")
        return result.to(x.dtype)

    return product


def _plain(weights: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    bias = None if bias is None else bias.to(weights.dtype)
    return linear(x.to(weights.dtype), weights, bias).to(x.dtype)
