"""4-bit layers stay what they are, whatever ran in between."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from grsap.models import BaseModel


def base_of_packable_shapes(folder: Path, tokenizer: PreTrainedTokenizerFast) -> BaseModel:
    """A model whose layers bitsandbytes could repack: dimensions are multiples of its block of 64."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return BaseModel(str(folder), compute_dtype="bfloat16")


def test_a_pass_in_eval_mode_leaves_weights_and_scales(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    model = base_of_packable_shapes(tmp_path, tiny_tokenizer).load(torch.device("cpu")).eval()
    layer = model.model.layers[0].mlp.up_proj
    before = (layer.weight.data.clone(), bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state))
    with torch.no_grad():
        model(torch.arange(10)[None])
    assert torch.equal(layer.weight.data, before[0])
    assert torch.equal(bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state), before[1])
    assert layer.weight.quant_state.nested


def test_nf4_weights_are_near_the_originals(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    base = base_of_packable_shapes(tmp_path, tiny_tokenizer)
    layer = base.load(torch.device("cpu")).model.layers[0].mlp.up_proj
    original = LlamaForCausalLM.from_pretrained(tmp_path).model.layers[0].mlp.up_proj.weight
    restored = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    # 4 bits of normal values lose about a tenth of their norm (Dettmers et al. 2023).
    assert 0.08 < (restored - original).norm() / original.norm() < 0.11
