"""Saved adapters: what does not fit a base is refused, from the files' headers alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from grsap.errors import ConfigError, ModelError
from grsap.models import BaseModel
from grsap.models.adapters import adapter_hash, check_adapter, load_adapter
from grsap.models.lora import add_lora

Tensors = dict[str, Tensor]
FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_adapter(folder: Path, base: Any, **settings: Any) -> Path:
    torch.manual_seed(3)
    given = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(base, LoraConfig(**given))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_" in name:
            parameter.data.normal_(0, 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(tmp_path: Path, tiny_llama: LlamaForCausalLM) -> Path:
    return save_adapter(tmp_path / "adapter", tiny_llama)


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    weights = folder / "adapter_model.safetensors"
    save_file(change(load_file(weights)), weights)


def renamed(tensors: Tensors) -> Tensors:
    return {name.replace("model.model.layers", "model.language_model.layers"): each for name, each in tensors.items()}


def without_first(tensors: Tensors) -> Tensors:
    return {name: each for name, each in tensors.items() if name != FIRST}


def one_more(tensors: Tensors) -> Tensors:
    return {**tensors, "base_model.model.other.weight": torch.zeros(2, 2)}


def other_shape(tensors: Tensors) -> Tensors:
    return {**tensors, FIRST: torch.zeros(4, 65)}


def not_finite(tensors: Tensors) -> Tensors:
    return {name: torch.full_like(each, float("nan")) for name, each in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "the tensor base_model.model.language_model.layers.0.mlp.down_proj.lora_A.weight has no place"),
        (without_first, f"the tensor {FIRST} is missing"),
        (one_more, "the tensor base_model.model.other.weight has no place in the base"),
        (other_shape, r"size mismatch for .*layers.0.mlp.down_proj.lora_A.*\[4, 65\]"),
        (lambda tensors: {}, rf"the tensor {FIRST} is missing \(and 27 more like it\)"),
    ],
    ids=["renamed", "missing", "unexpected", "shape", "empty"],
)
def test_an_adapter_that_does_not_fit_names_the_folder_and_the_first_tensor(
    adapter: Path, tiny_base_path: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    rewrite(adapter, change)
    with pytest.raises(ModelError, match=rf"the adapter {adapter}.*{message}"):
        BaseModel(str(tiny_base_path), quantization="none").check_adapter(adapter)
    with pytest.raises(ModelError, match=rf"the adapter {adapter}.*{message}"):
        BaseModel(str(tiny_base_path), merge_adapter=str(adapter), quantization="none").check_weights()


def test_values_that_are_not_finite_are_refused_when_they_are_loaded(
    adapter: Path, tiny_base_path: Path, tiny_llama: LlamaForCausalLM
) -> None:
    rewrite(adapter, not_finite)
    with pytest.raises(ModelError, match=r"adapter_model.safetensors: the tensor .* is not finite"):
        load_adapter(tiny_llama, adapter)
    with pytest.raises(ModelError, match=r"adapter_model.safetensors: the tensor .* is not finite"):
        BaseModel(str(tiny_base_path), merge_adapter=str(adapter), quantization="none").load(torch.device("cpu"))


def test_an_adapter_of_a_larger_model_is_refused(adapter: Path) -> None:
    with pytest.raises(ModelError, match="does not fit the base: size mismatch"):
        check_adapter(LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=2, vocab_size=512), adapter)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"lora_bias": True},
        {"bias": "all"},
        {"rank_pattern": {"q_proj": 2}},
        {"init_lora_weights": "pissa"},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [3, 4]},
        {"target_modules": ["lm_head", "embed_tokens"], "ensure_weight_tying": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_each_kind_of_lora_adapter_loads_and_none_of_its_tensors_may_be_missing(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_base_path: Path, settings: dict[str, Any]
) -> None:
    folder = save_adapter(tmp_path / "adapter", tiny_llama, **settings)
    base = AutoModelForCausalLM.from_pretrained(tiny_base_path)
    model, _ = load_adapter(base, folder)
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base_path), folder)
    ids = torch.arange(20)[None] + 10
    with torch.no_grad():
        assert torch.equal(model(ids).logits, expected(ids).logits)
    whole = load_file(folder / "adapter_model.safetensors")
    for name in whole:
        if ".base_layer." not in name:  # of the base, which has it
            rewrite(folder, lambda _, name=name: {each: whole[each] for each in whole if each != name})
            with pytest.raises(ModelError, match=r"is missing|lacks the tensor"):
                check_adapter(AutoConfig.from_pretrained(tiny_base_path), folder)


def test_an_adapter_fits_experts_that_are_one_tensor(tmp_path: Path) -> None:
    from transformers import Qwen3MoeConfig

    config = Qwen3MoeConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, moe_intermediate_size=8, num_hidden_layers=1, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_config(config)
    folder = save_adapter(tmp_path / "a", base, target_modules=["q_proj"], target_parameters=["experts.gate_up_proj"])
    check_adapter(config, folder)
    rewrite(folder, lambda tensors: {name: each for name, each in tensors.items() if "experts" not in name})
    with pytest.raises(ModelError, match=r"experts.*is missing"):
        check_adapter(config, folder)


@pytest.mark.parametrize("settings", [{"bias": "all"}, {"target_modules": ["q_proj", "embed_tokens"]}])
def test_what_an_adapter_replaces_in_the_base_is_known(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_base_path: Path, settings: dict[str, Any]
) -> None:
    plain = save_adapter(tmp_path / "plain", AutoModelForCausalLM.from_pretrained(tiny_base_path))
    assert load_adapter(AutoModelForCausalLM.from_pretrained(tiny_base_path), plain)[1] is False
    replacing = save_adapter(tmp_path / "replacing", tiny_llama, **settings)
    assert load_adapter(AutoModelForCausalLM.from_pretrained(tiny_base_path), replacing)[1] is True


def test_config_and_weights_are_the_identity(adapter: Path) -> None:
    before = adapter_hash(adapter)
    (adapter / "README.md").write_text("a card")
    assert adapter_hash(adapter) == before
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 99}))
    scaled = adapter_hash(adapter)
    rewrite(adapter, lambda tensors: {name: 2 * each for name, each in tensors.items()})
    doubled = adapter_hash(adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter / "adapter_model.bin")
    pickled = adapter_hash(adapter)
    torch.save({name: 3 * each for name, each in weights.items()}, adapter / "adapter_model.bin")
    assert len({before, scaled, doubled, pickled, adapter_hash(adapter)}) == 5


def test_a_pickled_adapter_is_read_as_tensors_alone(
    adapter: Path, tiny_base_path: Path, tiny_llama: LlamaForCausalLM
) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter / "adapter_model.bin")
    model, _ = load_adapter(tiny_llama, adapter)
    own = model.get_base_model().model.layers[0].mlp.down_proj.lora_A["default"].weight
    assert torch.equal(own, weights[FIRST])
    torch.save({FIRST: Path("code")}, adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model.bin holds more than tensors"):
        BaseModel(str(tiny_base_path)).check_adapter(adapter)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_new_trick": True}, "a setting that the installed PEFT does not know: use_new_trick"),
        ({"task_type": "SEQ_CLS"}, "is for SEQ_CLS"),
        ({"alora_invocation_tokens": [3]}, "an activated LoRA, which depends on the prompt"),
        ({"r": "four"}, "does not fit the base"),
        ({"target_modules": ["no_such_layer"]}, "does not fit the base: Target modules"),
        ({"peft_type": "LARO"}, "adapter_config.json is no config of an adapter"),
    ],
)
def test_settings_that_cannot_be_applied_are_refused(
    adapter: Path, tiny_base_path: Path, settings: dict[str, Any], message: str
) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(ModelError, match=message):
        BaseModel(str(tiny_base_path)).check_adapter(adapter)


def test_learned_prompts_are_refused(tmp_path: Path, tiny_base_path: Path, tiny_llama: LlamaForCausalLM) -> None:
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(tiny_llama, settings).save_pretrained(tmp_path / "prompt")
    with pytest.raises(ModelError, match=r"PROMPT_TUNING \(learned prompts\), which grsap cannot apply"):
        BaseModel(str(tiny_base_path)).check_adapter(tmp_path / "prompt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["q_proj", "query"]}, "target_modules names query, and the base has no such"),
        ({"target_modules": ["q_proj"], "modules_to_save": ["score"]}, "modules_to_save names score"),
    ],
)
def test_a_name_among_several_that_reaches_no_layer_is_refused(
    tiny_llama: LlamaForCausalLM, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        add_lora(tiny_llama, LoraConfig(r=2, **settings), seed=0)
