"""The exported adapter is the adapter alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tests.callbacks.toy_run import ToyModule
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from grsap.callbacks.model_export import export_model, write_adapter
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


def test_export_of_a_lora_adapter_asks_no_hub(
    tiny_llama: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", pytest.fail)
    model = get_peft_model(tiny_llama, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    module = ToyModule()
    module.model = model  # type: ignore[assignment]
    module.base = SimpleNamespace(path="some/hub-id", revision="abc")  # type: ignore[assignment]
    write_adapter(module, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    layers = [f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{side}.weight" for n in (0, 1) for side in "AB"]
    assert sorted(load_file(tmp_path / "adapter_model.safetensors")) == sorted(layers)
    config = PeftConfig.from_pretrained(str(tmp_path))
    assert (config.base_model_name_or_path, config.revision) == ("some/hub-id", "abc")


def test_export_after_full_fine_tuning(
    tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    module = ToyModule()
    module.model = tiny_llama  # type: ignore[assignment]
    module.template = SimpleNamespace(tokenizer=tiny_tokenizer)  # type: ignore[assignment]
    (tmp_path / "checkpoint").mkdir()
    write_adapter(module, tmp_path / "checkpoint")
    assert list((tmp_path / "checkpoint").iterdir()) == []
    export_model(module, tmp_path / "adapter")
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded(ids).logits, tiny_llama(ids).logits)
