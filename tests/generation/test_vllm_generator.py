"""`VLLMGenerator` without vLLM: what it refuses and what it tells of itself. The engine itself: tests/servers."""

from __future__ import annotations

import importlib.util
import json

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from grsap.errors import ConfigError, MissingPackageError, ModelError
from grsap.generation import GenerationRequest, SamplingSettings, VLLMEngine, VLLMGenerator
from grsap.generation.vllm_generator import lora_rank_limit
from grsap.models import BaseModel


@pytest.fixture
def base(tiny_base_path):
    return BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")


def adapter(folder, rank):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def fitting_adapter(base, folder, rank):
    lora = LoraConfig(r=rank, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), lora).save_pretrained(folder)
    return folder


def test_the_extra_is_named(base, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "vllm" else find(name, *a))
    with pytest.raises(MissingPackageError, match="extra `vllm`"):
        VLLMGenerator(base).generate([GenerationRequest("a", (5,))], SamplingSettings(2))
    assert VLLMGenerator(base).generate([], SamplingSettings(2)) == []


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_weights_are_loaded_as_they_are_stored(tiny_base_path, quantization):
    with pytest.raises(
        ConfigError, match=f"VLLMGenerator does not support quantization {quantization}.*Set quantization to none"
    ):
        VLLMGenerator(BaseModel(str(tiny_base_path), quantization=quantization))


def test_settings_and_adapter_are_checked_first(base):
    with pytest.raises(ConfigError, match="gpu_memory_utilization is"):
        VLLMGenerator(base, engine=VLLMEngine(gpu_memory_utilization=1.5))
    with pytest.raises(ConfigError, match="tensor_parallel_size is 0"):
        VLLMGenerator(base, engine=VLLMEngine(tensor_parallel_size=0))
    with pytest.raises(ModelError, match="no/such is no PEFT adapter"):
        VLLMGenerator(base, adapter="no/such")


@pytest.mark.parametrize(("rank", "limit"), [(1, 8), (8, 8), (9, 16), (64, 64), (512, 512)])
def test_lora_ranks(tmp_path, rank, limit):
    assert lora_rank_limit(adapter(tmp_path / "adapter", rank)) == limit


def test_a_rank_that_vllm_does_not_take(tmp_path):
    with pytest.raises(ConfigError, match="rank 600; vLLM takes 512 at most"):
        lora_rank_limit(adapter(tmp_path / "adapter", 600))


def test_identity_tells_batch_invariance_however_it_is_set(base, tmp_path, monkeypatch):
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    plain = VLLMGenerator(base).identity()
    assert (plain["backend"], plain["batch_invariant"], plain["adapter_hash"]) == ("VLLMGenerator", False, None)
    assert plain["base"] == base.identity()
    assert VLLMGenerator(base, engine=VLLMEngine(batch_invariant=True)).identity()["batch_invariant"] is True
    fewer = VLLMGenerator(base, engine=VLLMEngine(max_num_seqs=2))
    assert fewer.content_identity() == VLLMGenerator(base).content_identity()
    adapted = VLLMGenerator(base, adapter=str(fitting_adapter(base, tmp_path / "a", 8)))
    assert len(adapted.identity()["adapter_hash"]) == 16
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    assert VLLMGenerator(base).identity()["batch_invariant"] is True


def test_what_vllm_is_started_with(base, tmp_path, tiny_base_path):
    engine = VLLMEngine(tensor_parallel_size=2, max_model_len=512)
    generator = VLLMGenerator(base, str(fitting_adapter(base, tmp_path / "a", 12)), engine)
    assert generator._arguments() == {
        "model": str(tiny_base_path),
        "revision": None,
        "dtype": "float32",
        "trust_remote_code": False,
        "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.9,
        "enforce_eager": False,
        "max_logprobs": -1,
        "max_model_len": 512,
        "enable_lora": True,
        "max_lora_rank": 16,
    }
