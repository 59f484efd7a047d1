"""Estimate of a run's memory from the model's config, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from torch import nn
from transformers import AutoConfig

from grsap.models.base import BaseModel
from grsap.models.quantized import is_quantizable
from grsap.models.shape import empty_model


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device. Weights and trainable state are counted; activations are a rule of thumb.

    Attributes:
        weights: the frozen base, as quantized.
        trainable: trainable parameters with their gradients and optimizer state.
        activations: what the backward pass of the largest micro-batch keeps, logits included.
        num_parameters, num_trainable: counts.
    """

    weights: int
    trainable: int
    activations: int
    num_parameters: int
    num_trainable: int

    @property
    def total(self) -> int:
        """Return the sum of weights, trainable state and activations, in bytes."""
        return self.weights + self.trainable + self.activations


@dataclass(frozen=True)
class MemoryFactors:
    """Settings that the estimate depends on besides the model.

    Attributes:
        quantization: `nf4`, `fp4`, `int8` or `none`.
        double_quantization: whether the 4-bit scales are quantized too.
        bytes_per_value: size of the compute dtype.
        gradient_checkpointing: only layer inputs are kept for the backward pass.
        max_tokens: tokens of the largest micro-batch, padding included.
        max_targets: supervised tokens of that micro-batch.
        optimizer_bytes: optimizer state per trainable parameter; 8 for AdamW in float32, 2 in 8 bits.
        chunk_size: supervised tokens whose logits exist at once.
    """

    quantization: str
    double_quantization: bool
    bytes_per_value: int
    gradient_checkpointing: bool
    max_tokens: int
    max_targets: int
    optimizer_bytes: int = 8
    chunk_size: int = 1024


def estimate_memory(model: nn.Module, config: Any, factors: MemoryFactors) -> MemoryEstimate:
    """Estimate the memory of training `model`, which may be on the meta device.

    Args:
        model: unquantized model with `requires_grad` set on the trained parameters.
        config: transformers configuration of the base.
        factors: settings of the run.
    """
    frozen_linear = frozen_other = trainable = 0
    embeddings = getattr(model, "get_output_embeddings", None)
    head = embeddings() if callable(embeddings) else None
    seen: set[int] = set()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if parameter.requires_grad:
                trainable += parameter.numel()
            elif is_quantizable(module) and module is not head and parameter.dim() == 2:
                frozen_linear += parameter.numel()
            else:
                frozen_other += parameter.numel()
    return MemoryEstimate(
        weights=int(frozen_linear * weight_bytes(factors) + frozen_other * factors.bytes_per_value),
        trainable=trainable * (4 + 4 + factors.optimizer_bytes),
        activations=activation_bytes(config, factors),
        num_parameters=frozen_linear + frozen_other + trainable,
        num_trainable=trainable,
    )


def planned_memory(
    shape: Mapping[str, Any],
    base: Mapping[str, Any],
    lora: Mapping[str, Any] | None,
    max_tokens: int,
    optimizer_bytes: int,
) -> MemoryEstimate:
    """Estimate the memory of a planned run from its settings only; nothing is downloaded.

    Args:
        shape: settings of a transformers config, including `model_type`.
        base: settings of `model.base`.
        lora: settings of `model.lora`; None for full fine-tuning.
        max_tokens: tokens of a micro-batch, all of them supervised.
        optimizer_bytes: see `MemoryFactors`.

    Raises:
        ValueError, TypeError, KeyError: the libraries do not know the shape or a setting.
    """
    values = dict(shape)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    settings = BaseModel(**{"path": "any", **base})
    factors = MemoryFactors(
        quantization=settings.quantization,
        double_quantization=settings.double_quantization,
        bytes_per_value=4 if lora is None else 2,
        gradient_checkpointing=settings.gradient_checkpointing,
        max_tokens=max_tokens,
        max_targets=max_tokens,
        optimizer_bytes=optimizer_bytes,
    )
    adapter = None if lora is None else LoraConfig(**{"task_type": "CAUSAL_LM", **lora})
    return estimate_memory(empty_model(config, adapter), config, factors)


def weight_bytes(factors: MemoryFactors) -> float:
    """Return the bytes per weight of a linear layer, including its share of the quantization scales.

    4-bit formats have one scale per 64 weights: float32, or 8 bits with a float32 per 256 scales (QLoRA, section 3).
    """
    if factors.quantization in ("nf4", "fp4"):
        scale = (1 + 4 / 256) / 64 if factors.double_quantization else 4 / 64
        return 0.5 + scale
    return 1.0 if factors.quantization == "int8" else float(factors.bytes_per_value)


def activation_bytes(config: Any, factors: MemoryFactors) -> int:
    """Estimate the bytes that decoder layers with gated MLPs keep for the backward pass, including the logits.

    Rule of thumb: a layer keeps about twelve values of the hidden size (norms, projections, attention, residuals) and
    five of the MLP's inner size per token; with gradient checkpointing, all layers but one keep only their input.
    """
    text = config.get_text_config()
    hidden = int(text.hidden_size)
    inner = int(getattr(text, "intermediate_size", None) or 4 * hidden)
    layer = 12 * hidden + 5 * inner
    layers = int(text.num_hidden_layers)
    values = layers * hidden + layer if factors.gradient_checkpointing else layers * layer
    # Logits of one chunk and their gradient, in float32.
    logits = 2 * 4 * int(text.vocab_size) * min(factors.max_targets, factors.chunk_size)
    return factors.max_tokens * values * factors.bytes_per_value + logits


def kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Return the size of one token's keys and values in all layers of a model with full attention, in bytes.

    Args:
        config: transformers configuration of the base.
        dtype: dtype of keys and values.
    """
    config = config.get_text_config()
    num_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    num_kept = getattr(config, "num_key_value_heads", None) or num_heads
    return int(2 * config.num_hidden_layers * num_kept * width * dtype.itemsize)
