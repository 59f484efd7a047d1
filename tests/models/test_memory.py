"""The memory estimate, against counts made by hand on the tiny model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from peft import LoraConfig
from transformers import LlamaConfig

from grsap.models.memory import MemoryFactors, activation_bytes, estimate_memory, weight_bytes
from grsap.models.shape import empty_model

HIDDEN, INNER, VOCABULARY, LAYERS = 32, 64, 512, 2
CONFIG = LlamaConfig(
    vocab_size=VOCABULARY,
    hidden_size=HIDDEN,
    intermediate_size=INNER,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)
# q and o are 32x32, k and v 32x16, gate, up and down 32x64.
LINEAR = LAYERS * (2 * HIDDEN * HIDDEN + 2 * HIDDEN * 16 + 3 * HIDDEN * INNER)
OTHER = VOCABULARY * HIDDEN + (2 * LAYERS + 1) * HIDDEN
FACTORS = MemoryFactors(
    quantization="nf4",
    double_quantization=True,
    bytes_per_value=2,
    gradient_checkpointing=False,
    max_tokens=100,
    max_targets=10,
)


def test_lora_on_a_quantized_base() -> None:
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    model = empty_model(CONFIG, lora)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    estimate = estimate_memory(model, CONFIG, FACTORS)
    adapter = LAYERS * 4 * ((HIDDEN + HIDDEN) + (HIDDEN + 16))
    assert estimate.num_trainable == adapter
    assert estimate.num_parameters == LINEAR + OTHER + adapter
    assert estimate.weights == int(LINEAR * (0.5 + 260 / 256 / 64) + OTHER * 2)
    # Value, gradient and two moments of AdamW in float32.
    assert estimate.trainable == adapter * 16
    assert estimate.total == estimate.weights + estimate.trainable + estimate.activations


def test_logits_are_those_of_a_chunk() -> None:
    empty = empty_model(CONFIG, None)
    large, small = (estimate_memory(empty, CONFIG, replace(FACTORS, max_targets=900, chunk_size=n)) for n in (512, 64))
    assert large.activations - small.activations == (512 - 64) * VOCABULARY * 4 * 2  # with their gradient, in float32


def test_full_fine_tuning_counts_all_as_trainable() -> None:
    factors = replace(FACTORS, quantization="none", bytes_per_value=4)
    estimate = estimate_memory(empty_model(CONFIG, None), CONFIG, factors)
    assert (estimate.num_trainable, estimate.weights) == (LINEAR + OTHER, 0)


@pytest.mark.parametrize(
    ("quantization", "double", "expected"),
    [("nf4", False, 0.5625), ("fp4", True, 0.515869140625), ("int8", True, 1.0), ("none", True, 2.0)],
)
def test_weight_bytes(quantization: str, double: bool, expected: float) -> None:
    factors = replace(FACTORS, quantization=quantization, double_quantization=double)
    assert weight_bytes(factors) == expected


def test_activations() -> None:
    layer = 12 * HIDDEN + 5 * INNER
    logits = 2 * 4 * VOCABULARY * 10
    assert activation_bytes(CONFIG, FACTORS) == 100 * LAYERS * layer * 2 + logits
    recomputed = replace(FACTORS, gradient_checkpointing=True)
    assert activation_bytes(CONFIG, recomputed) == 100 * (LAYERS * HIDDEN + layer) * 2 + logits
