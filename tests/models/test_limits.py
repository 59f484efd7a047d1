"""Tokens beyond the embedding and rows beyond learned positions are found without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CTRLConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
    PreTrainedConfig,
    XGLMConfig,
)

from grsap.errors import ModelError
from grsap.generation import GenerationRequest, SamplingSettings, ScoringRequest, TransformersGenerator
from grsap.models import BaseModel
from grsap.models.limits import Limits, model_limits

WIDTHS: dict[str, Any] = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
GPT = {**WIDTHS, "n_embd": 16, "n_layer": 1, "n_head": 2}
OPT = {**WIDTHS, "hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1, "word_embed_proj_dim": 16}
LLAMA = {**WIDTHS, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_key_value_heads": 1}


@pytest.mark.parametrize(
    ("config", "num_positions"),
    [
        (GPT2Config(**GPT, n_positions=24), 24),
        (GPTNeoConfig(**WIDTHS, hidden_size=16, num_layers=1, num_heads=2, attention_types=[[["global"], 1]],
                      max_position_embeddings=24), 24),
        (OPTConfig(**OPT, num_attention_heads=2, max_position_embeddings=24), 24),  # whose table has 26 rows
        (GPTJConfig(**GPT, n_positions=24, rotary_dim=4), 24),
        (CTRLConfig(**GPT, n_positions=24, dff=16), 24),
        (MptConfig(vocab_size=64, d_model=16, n_layers=1, n_heads=2, max_seq_len=24), 24),
        (LlamaConfig(**LLAMA, num_attention_heads=2, max_position_embeddings=24), None),
        (XGLMConfig(**WIDTHS, d_model=16, ffn_dim=16, num_layers=1, attention_heads=2, max_position_embeddings=24),
         None),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)  # fmt: skip
def test_the_limit_is_what_the_model_itself_can_take(config: PreTrainedConfig, num_positions: int | None) -> None:
    with torch.device("meta"):
        limits = model_limits(AutoModelForCausalLM.from_config(config))
    assert limits == Limits(64, num_positions)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model(input_ids=torch.full((1, 24), 63), use_cache=False)
        if num_positions is None:
            model(input_ids=torch.full((1, 30), 63), use_cache=False)
        else:
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=torch.full((1, 25), 63), use_cache=False)


@pytest.fixture
def gpt2(tmp_path: Path, tiny_tokenizer: Any) -> BaseModel:
    sizes = {**GPT, "vocab_size": len(tiny_tokenizer) - 1}
    AutoModelForCausalLM.from_config(GPT2Config(**sizes, n_positions=24)).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    return BaseModel(str(tmp_path), quantization="none", compute_dtype="float32")


def test_generation_refuses_before_weights_load(gpt2: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseModel, "load", lambda *args, **kwargs: pytest.fail("weights were loaded"))
    generator = TransformersGenerator(gpt2)
    too_long = GenerationRequest("p1", tuple(range(5, 25)))
    with pytest.raises(ModelError, match=r"prompt p1: 20 tokens and 5 new ones .* the 24 positions.*max_new"):
        generator.generate([too_long], SamplingSettings(max_new_tokens=5))
    beyond = gpt2.limits.num_tokens
    with pytest.raises(ModelError, match=rf"prompt p2: token {beyond} is beyond the model's embedding.*Set base.path"):
        generator.generate([GenerationRequest("p2", (5, beyond))], SamplingSettings(max_new_tokens=5))
    with pytest.raises(ModelError, match=rf"text t: token {beyond} is beyond"):
        list(generator.likelihoods([ScoringRequest("t", (5,), (beyond,))]))
