"""What is known of a model before its weights load: attention, quantization, architecture, what an adapter reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    Llama4Config,
    Llama4ForConditionalGeneration,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    PhimoeConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

from grsap.errors import ConfigError, ModelError
from grsap.models import BaseModel
from grsap.models.lora import OutputHead, backbone
from grsap.models.planned import check_model, planned_model

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
LLAMA4 = {**SIZES, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 16}


def save(folder: Path, config: PreTrainedConfig) -> BaseModel:
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return BaseModel(str(folder), quantization="none", compute_dtype="float32")


@pytest.mark.parametrize(
    ("config", "takes"),
    [
        (LlamaConfig(**SIZES), "sdpa"),
        (Gemma2Config(**SIZES, head_dim=8, sliding_window=8), "eager"),
        (MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1), "eager"),
    ],
)
def test_attention_auto_takes_what_the_architecture_has(tmp_path: Path, config: PreTrainedConfig, takes: str) -> None:
    model: Any = save(tmp_path, config).load(CPU)
    assert model.config._attn_implementation == takes


def test_attention_that_an_architecture_does_not_have_is_told_before_weights_load(tmp_path: Path) -> None:
    save(tmp_path, Gemma2Config(**SIZES, head_dim=8))
    base = BaseModel(str(tmp_path), attention="sdpa", quantization="none")
    message = r"attention is sdpa, which Gemma2ForCausalLM does not support. Set attention to auto or"
    for check in (base.check_weights, base.empty):
        with pytest.raises(ConfigError, match=message):
            check()
    BaseModel(str(tmp_path), attention="eager", quantization="none").check_weights()


@pytest.mark.parametrize("config", [Llama4TextConfig(**LLAMA4), LlamaConfig(**SIZES), GPT2Config(n_embd=16, n_head=2)])
def test_the_backbone_makes_the_states_of_the_head(tmp_path: Path, config: PreTrainedConfig) -> None:
    base = save(tmp_path, config)
    model = base.load(CPU)
    OutputHead(model).check(model, torch.float32, "base")
    assert type(backbone(planned_model(base, None))) is type(backbone(model))


def test_an_architecture_that_names_no_backbone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = save(tmp_path, LlamaConfig(**SIZES))
    monkeypatch.setattr("transformers.LlamaForCausalLM.base_model_prefix", "decoder")
    assert type(backbone(base.empty())).__name__ == "LlamaModel"  # the only part that is a model
    monkeypatch.setattr("transformers.LlamaForCausalLM.children", lambda self: iter(()))
    with pytest.raises(ModelError, match="LlamaForCausalLM: grsap does not support this architecture"):
        check_model(base, LoraConfig())


def test_a_head_of_another_width_is_an_unknown_architecture(tmp_path: Path) -> None:
    model: Any = save(tmp_path, LlamaConfig(**SIZES)).load(CPU)
    head = OutputHead(model)
    head.layer = torch.nn.Linear(5, 64)
    with pytest.raises(ModelError, match=r"base: the model's logits differ from those of its output layer by inf%"):
        head.check(model, torch.float32, "base")


@pytest.mark.parametrize(
    ("config", "router"),
    [
        (Llama4TextConfig(**LLAMA4), "Llama4Router"),
        (PhimoeConfig(**SIZES, num_local_experts=2), "PhimoeTopKRouter"),
    ],
)
def test_a_router_that_lora_cannot_adapt_is_none_of_all_linear_and_told_if_it_is_named(
    tmp_path: Path, config: PreTrainedConfig, router: str
) -> None:
    base = save(tmp_path, config)
    with pytest.raises(ConfigError, match=rf"router, a {router}.*Set exclude_modules to \[router\]"):
        check_model(base, LoraConfig(target_modules=["q_proj", "router"]))
    check_model(base, LoraConfig(target_modules="all-linear"))
    names = [name for name, _ in planned_model(base, LoraConfig(target_modules="all-linear")).named_parameters()]
    assert [name for name in names if "router" in name and "lora" in name] == []
    assert len([name for name in names if "q_proj.lora_A" in name]) == 2


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize(
    ("config", "share"),
    [
        (LlamaConfig(**SIZES), 0.975),
        (GPT2Config(n_embd=16, n_head=2, n_layer=2, n_positions=8, vocab_size=64), 0.94),
        (GPTNeoXConfig(**{**SIZES, "num_key_value_heads": 2}), 0.897),
        (FalconConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2), 0.0),
        (Qwen3MoeConfig(**SIZES, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16), 0.2),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_the_share_that_is_quantized_is_that_of_the_loaded_model(
    tmp_path: Path, config: PreTrainedConfig, share: float, quantization: Any
) -> None:
    save(tmp_path, config)
    base = BaseModel(str(tmp_path), quantization=quantization, compute_dtype="float32")
    told = base.quantized_share()
    assert told is not None
    layers = [each for each in base.load(CPU).modules() if type(each).__name__ in ("Linear4bit", "Linear8bitLt")]
    assert told.num_quantized == sum(layer.in_features * layer.out_features for layer in layers)
    assert told.of_body == pytest.approx(share, abs=0.03)
    (note,) = check_model(base, LoraConfig(target_modules="all-linear"))
    assert f"{quantization}: {told.of_all:.1%} of all parameters are quantized" in note
    assert note.startswith("Warning: ") is (share < 0.8)


def test_the_head_is_not_quantized_whatever_its_name(tmp_path: Path) -> None:
    save(tmp_path, GPTNeoXConfig(**{**SIZES, "num_key_value_heads": 2}))
    model: Any = BaseModel(str(tmp_path), quantization="nf4", compute_dtype="float32").load(CPU)
    assert type(model.get_output_embeddings()) is torch.nn.Linear
    assert type(model.gpt_neox.layers[0].mlp.dense_h_to_4h).__name__ == "Linear4bit"


def test_a_part_to_skip_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path, LlamaConfig(**SIZES))
    with pytest.raises(ConfigError, match=r"skip_modules names model.layers.7, and the model has no such module"):
        BaseModel(str(tmp_path), skip_modules=["model.layers.0", "model.layers.7"]).quantized_share()


def test_no_note_without_quantization_and_one_on_tied_layers(tmp_path: Path) -> None:
    base = save(tmp_path, LlamaConfig(**SIZES, tie_word_embeddings=True))
    assert check_model(base, LoraConfig(target_modules=["q_proj"])) == []
    (note,) = check_model(base, LoraConfig(target_modules=["lm_head"]))
    assert "shares its weights (tied embeddings)" in note


@pytest.fixture(scope="module")
def stored_nf4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    save(folder / "plain", LlamaConfig(**{**SIZES, "hidden_size": 64}))
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(folder / "plain", quantization_config=settings, device_map={"": "cpu"})
    plain.save_pretrained(folder / "nf4")
    return folder / "nf4"


def test_a_model_that_is_stored_quantized_is_loaded_as_it_is(stored_nf4: Path) -> None:
    model = BaseModel(str(stored_nf4), quantization="nf4", compute_dtype="float32").load(CPU)
    settings: Any = {"quantization": "nf4", "double_quantization": False, "compute_dtype": "float32"}
    plain = BaseModel(str(stored_nf4.parent / "plain"), **settings).load(CPU)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantization", ["none", "fp4", "int8"])
def test_another_quantization_than_the_stored_one_is_refused(stored_nf4: Path, quantization: Any) -> None:
    base = BaseModel(str(stored_nf4), quantization=quantization)
    for call in (base.check_weights, lambda: base.load(CPU)):
        with pytest.raises(
            ConfigError, match=rf"quantization is {quantization}.*quantized weights \(nf4\). Set .* to nf4"
        ):
            call()


def test_what_needs_full_weights_refuses_stored_quantization(stored_nf4: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quantized weights .*full fine-tuning .* needs full weights"):
        check_model(BaseModel(str(stored_nf4), quantization="nf4"), None)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"merge_adapter needs full weights"):
        BaseModel(str(stored_nf4), quantization="nf4", merge_adapter=str(tmp_path)).check_weights()


def test_the_text_model_of_a_whole_multimodal_one_is_loaded(tmp_path: Path) -> None:
    vision = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14, "vision_output_dim": 16, "projector_input_dim": 16,
              "projector_output_dim": 16}  # fmt: skip
    whole = Llama4ForConditionalGeneration(Llama4Config(text_config=LLAMA4, vision_config=vision))
    whole.save_pretrained(tmp_path)
    base = BaseModel(str(tmp_path), quantization="none", compute_dtype="float32")
    base.check_weights()
    loaded: Any = base.load(CPU)
    assert type(loaded).__name__ == "Llama4ForCausalLM"
    assert torch.equal(loaded.lm_head.weight, whole.language_model.lm_head.weight)
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in sorted(weights) if "vision_model" in name)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"the tensor {gone} is missing"):  # it is not the model that it says
        base.check_weights()
