"""4-bit layers on a processor: kept as they are."""

from __future__ import annotations

from typing import Any

from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from torch import Tensor, nn


def four_bit_layers(model: nn.Module) -> list[Linear4bit]:
    """The 4-bit layers of a model."""
    return [layer for layer in model.modules() if isinstance(layer, Linear4bit)]


def keep_quantized_weights(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking weights for its AVX512-BF16 kernel at the first forward pass in eval mode.

    The repacking rounds the 4-bit scales to bf16 in place, so that a check in the middle of training would change the
    base that training goes on with.
    """
    for layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = False


def dequantized(layer: Linear4bit) -> Tensor:
    """(out, in) weights of a 4-bit layer in its compute dtype."""
    weight: Any = layer.weight
    weights: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return weights.to(layer.compute_dtype or weights.dtype)
