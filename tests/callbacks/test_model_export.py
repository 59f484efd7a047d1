"""The exported adapter is the adapter alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from grsap.callbacks.model_export import write_adapter
from grsap.models.lora import add_lora


def test_an_adapter_on_tied_embeddings_is_exported_without_them(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_base_path: Path
) -> None:
    targets = ["q_proj", "embed_tokens", "lm_head"]
    model = add_lora(tiny_llama, LoraConfig(r=2, target_modules=targets, init_lora_weights=False), seed=0)
    module: Any = SimpleNamespace(model=model, base=SimpleNamespace(path=str(tiny_base_path)))
    write_adapter(module, tmp_path)
    names = set(load_file(tmp_path / "adapter_model.safetensors"))
    assert [name for name in names if "lora_" not in name] == []
    assert len(names) == 2 * (2 + 1 + 1)  # A and B of q_proj in two layers, the embedding and the head
    ids = torch.arange(20)[None] + 10
    read_back = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base_path), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(read_back(ids).logits, model.eval()(ids).logits)
