"""A merged model is the base with its adapter on, also where layers share weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
)

from grsap.errors import ModelError
from grsap.models import BaseModel
from grsap.models.adapters import load_adapter

IDS = torch.arange(5, 37)[None]
SIZES = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
TIED = LlamaConfig(**SIZES, tie_word_embeddings=True)
UNTIED = LlamaConfig(**SIZES, tie_word_embeddings=False, attention_bias=True)
GPT2 = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=512, initializer_range=0.2)  # tied by default
MOE = Qwen3MoeConfig(
    **SIZES, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, tie_word_embeddings=True
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_base(folder: Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    torch.manual_seed(1)
    given = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**given))
    for _, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * 0.2
    model.save_pretrained(folder)
    return folder


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(input_ids=IDS).logits
    return found


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (TIED, {"target_modules": ["q_proj", "v_proj"]}),
        (TIED, {"target_modules": ["q_proj", "lm_head"]}),
        (TIED, {"target_modules": ["q_proj", "embed_tokens"]}),
        (TIED, {"target_modules": ["embed_tokens", "lm_head"]}),
        (TIED, {"target_modules": ["embed_tokens", "lm_head"], "ensure_weight_tying": True}),
        (TIED, {"target_modules": ["q_proj", "lm_head"], "use_dora": True}),
        (TIED, {"target_modules": ["q_proj", "lm_head"], "use_rslora": True, "rank_pattern": {"lm_head": 2}}),
        (TIED, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
        (TIED, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}),
        (TIED, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
        (TIED, {"target_modules": ["q_proj"], "trainable_token_indices": [7, 9]}),
        (UNTIED, {"target_modules": ["q_proj", "lm_head", "embed_tokens"], "bias": "all"}),
        (UNTIED, {"target_modules": ["q_proj"], "trainable_token_indices": [7, 9]}),
        (GPT2, {"target_modules": ["c_attn", "lm_head"], "fan_in_fan_out": True}),
        (GPT2, {"target_modules": ["c_attn", "wte"], "fan_in_fan_out": True}),
        (MOE, {"target_modules": ["q_proj", "lm_head"], "target_parameters": ["experts.gate_up_proj"]}),
    ],
)
def test_a_merged_model_gives_the_adapters_logits(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig, settings: dict[str, Any]
) -> None:
    base = save_base(tmp_path / "base", config, tiny_tokenizer)
    adapter = save_adapter(tmp_path / "adapter", base, **settings)
    plain = AutoModelForCausalLM.from_pretrained(base)
    without = logits(plain)
    expected = logits(load_adapter(plain, adapter)[0])
    merged = BaseModel(str(base), merge_adapter=str(adapter), quantization="none", compute_dtype="float32")
    found = logits(merged.load(torch.device("cpu")))
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (without - expected).norm() > 0.05 * expected.norm()


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_what_is_quantized_is_the_merged_and_untied_model(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, quantization: Any
) -> None:
    base = save_base(tmp_path / "base", TIED, tiny_tokenizer)
    adapter = save_adapter(tmp_path / "adapter", base, target_modules=["q_proj", "lm_head"])
    plain = AutoModelForCausalLM.from_pretrained(base)
    without = logits(plain)
    expected = logits(load_adapter(plain, adapter)[0])
    quantized = BaseModel(str(base), merge_adapter=str(adapter), quantization=quantization, compute_dtype="float32")
    found = logits(quantized.load(torch.device("cpu")))
    assert (found - expected).norm() < (expected - without).norm()


def test_an_adapter_that_peft_merges_in_part_is_refused(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    base = save_base(tmp_path / "base", TIED, tiny_tokenizer)
    tokens = {"embed_tokens": [7, 9]}
    adapter = save_adapter(tmp_path / "a", base, target_modules=["lm_head"], trainable_token_indices=tokens)
    with pytest.raises(ModelError, match=rf"PEFT cannot merge all layers of the adapter {adapter}"):
        BaseModel(str(base), merge_adapter=str(adapter)).weights_source()


def test_only_what_is_changed_is_untied(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    base = save_base(tmp_path / "base", TIED, tiny_tokenizer)
    for number, (targets, tied) in enumerate(((["q_proj"], True), (["q_proj", "lm_head"], False))):
        adapter = save_adapter(tmp_path / f"adapter{number}", base, target_modules=targets)
        model: Any = BaseModel(str(base), merge_adapter=str(adapter), quantization="none").load(torch.device("cpu"))
        assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
        assert model.config.tie_word_embeddings is tied


def test_the_base_or_adapter_config_that_changed_makes_another_merge(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    base = save_base(tmp_path / "base", TIED, tiny_tokenizer)
    adapter = save_adapter(tmp_path / "adapter", base, target_modules=["q_proj"])

    def folder() -> str:
        return BaseModel(str(base), merge_adapter=str(adapter)).weights_source()

    seen = [folder(), folder()]
    config = adapter / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 80'))
    seen.append(folder())
    generation = base / "generation_config.json"
    generation.write_text(generation.read_text().replace("{", '{"max_length": 33, ', 1))
    seen.append(folder())
    assert [each == seen[0] for each in seen] == [True, True, False, False]
    assert len(set(seen)) == 3


def test_a_merge_that_would_change_the_model_is_refused(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save_base(tmp_path / "base", TIED, tiny_tokenizer)
    adapter = save_adapter(tmp_path / "adapter", base, target_modules=["lm_head"])
    monkeypatch.setattr("grsap.models.merge.untie", lambda model: None)
    with pytest.raises(ModelError, match=rf"merging the adapter {adapter} would change the model: its logits differ"):
        BaseModel(str(base), merge_adapter=str(adapter)).weights_source()
    assert not list((tmp_path / "cache").rglob("merged-*/config.json"))
