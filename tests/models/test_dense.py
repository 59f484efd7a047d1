"""Layers with prepared weights give the numbers of the layers themselves, and come back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from tests.models.test_quantized import base_of_packable_shapes
from transformers import PreTrainedTokenizerFast

from grsap.models.dense import dense
from grsap.models.lora import add_lora
from grsap.models.quantized import four_bit_layers


def test_dequantized_layers_give_the_same_logits_and_come_back(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    model = base_of_packable_shapes(tmp_path, tiny_tokenizer).load(torch.device("cpu"))
    ids = torch.arange(40)[None] + 5
    with torch.no_grad():
        expected = model(ids).logits
        with dense(model):
            assert all("forward" in layer.__dict__ for layer in four_bit_layers(model))
            torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)
    assert len(four_bit_layers(model)) == 7
    assert not any("forward" in layer.__dict__ for layer in four_bit_layers(model))


def test_an_adapter_is_added_in_float32_and_stays_apart_in_bf16(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = torch.arange(40)[None] + 5
    for dtype, places in (("float32", 7), ("bfloat16", 0)):
        base = replace(base_of_packable_shapes(tmp_path / dtype, tiny_tokenizer), compute_dtype=dtype)
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        model = add_lora(base.load(torch.device("cpu")), config, seed=0).eval()
        layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
        kept = [parameter.detach().clone() for parameter in model.parameters()]
        with torch.no_grad(), model.disable_adapter():
            off = model(ids).logits
        with torch.no_grad():
            expected = model(ids).logits
            with dense(model):
                assert sum("forward" in layer.__dict__ for layer in layers) == places
                torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-4)
            with model.disable_adapter(), dense(model):
                torch.testing.assert_close(model(ids).logits, off, rtol=1e-4, atol=1e-4)
        assert (expected - off).abs().max() > 0.1
        assert not any("forward" in layer.__dict__ for layer in model.modules())
        assert all(torch.equal(left, right) for left, right in zip(kept, model.parameters(), strict=True))


def test_float32_weights_are_laid_out_and_left_alone_under_autocast(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    base = replace(base_of_packable_shapes(tmp_path, tiny_tokenizer), quantization="none", compute_dtype="float32")
    model = base.load(torch.device("cpu"))
    ids = torch.arange(40)[None] + 5
    with torch.no_grad():
        expected = model(ids).logits
        with dense(model):
            assert sum("forward" in layer.__dict__ for layer in model.modules()) == 8  # seven and the output head
            torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-5)
        with dense(model, torch.bfloat16):
            assert not any("forward" in layer.__dict__ for layer in model.modules())
