"""The aligned adapter in the package is two in one: joined, they change the base as one after the other does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tests.scripts import load_script
from transformers import AutoModelForCausalLM, LlamaForCausalLM

join = load_script(Path(__file__).parents[1] / "resources" / "safety" / "join_adapters.py").join


def train(base: LlamaForCausalLM, path: Path, r: int, lora_alpha: int, layers: list[int] | None) -> LlamaForCausalLM:
    """Write a random adapter, with tensors that bf16 holds exactly, and return the base with it merged in."""
    settings = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=["q_proj", "v_proj"], layers_to_transform=layers)
    model = get_peft_model(base, settings)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randint(-8, 9, parameter.shape) / 16
    model.save_pretrained(str(path))
    merged = model.merge_and_unload()
    assert isinstance(merged, LlamaForCausalLM)
    return merged


def test_the_joint_adapter_is_the_sum(tiny_base_path: Path, tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    torch.manual_seed(0)
    both = train(train(tiny_llama, tmp_path / "a", 4, 8, None), tmp_path / "b", 2, 4, [1])
    join(tmp_path / "a", tmp_path / "b", tmp_path / "joint")
    base = AutoModelForCausalLM.from_pretrained(tiny_base_path, dtype=torch.float32)
    joint = PeftModel.from_pretrained(base, str(tmp_path / "joint"))
    factors = {name: tuple(value.shape) for name, value in joint.named_parameters() if "q_proj.lora_A" in name}
    assert list(factors.values()) == [(4, 32), (6, 32)]
    weights = dict(joint.merge_and_unload().named_parameters())
    for name, expected in both.named_parameters():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-5)


def test_factors_of_another_scale_are_refused(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    train(train(tiny_llama, tmp_path / "a", 4, 8, None), tmp_path / "b", 2, 2, [1])
    with pytest.raises(ValueError, match="lora_alpha / r of the two differ"):
        join(tmp_path / "a", tmp_path / "b", tmp_path / "joint")
    assert not (tmp_path / "joint").exists()
