"""The last token's state of a causal model, against the model run on one text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from grsap.embedding import LastTokenEmbedder
from grsap.errors import ConfigError, ModelError
from grsap.models.weight_files import WeightFiles

TEXTS = ["Bake bread.", "", "USER: How do I bake bread at home?\nASSISTANT: With flour.", "a"]


@pytest.fixture(scope="module")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder of a GPT-2 with random weights."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tiny_tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def test_each_text_has_the_state_of_its_last_token(tiny_gpt2: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = GPT2LMHeadModel.from_pretrained(tiny_gpt2).eval()
    found = LastTokenEmbedder(str(tiny_gpt2), device="cpu", batch_size=3, max_length=12).embed(TEXTS)
    assert (found.shape, found[1].tolist()) == ((4, 16), [0.0] * 16)
    assert len(tiny_tokenizer(TEXTS[2])["input_ids"]) > 12
    for number in (0, 2, 3):
        ids = torch.tensor([tiny_tokenizer(TEXTS[number])["input_ids"][:12]])
        with torch.inference_mode():
            state = model(ids, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
        np.testing.assert_allclose(found[number], state / np.linalg.norm(state), atol=2e-6)


def test_texts_without_tokens_alone(tiny_gpt2: Path) -> None:
    assert LastTokenEmbedder(str(tiny_gpt2), device="cpu").embed([""]).tolist() == [[0.0] * 16]


def test_identity_and_errors(tiny_gpt2: Path) -> None:
    embedder = LastTokenEmbedder(str(tiny_gpt2), batch_size=2, max_length=9)
    assert embedder.identity() == {
        "embedder": "LastTokenEmbedder",
        "model": str(tiny_gpt2),
        "revision": WeightFiles.of_folder(tiny_gpt2).hash,
        "batch_size": 2,
        "max_length": 9,
    }
    for name in ("batch_size", "max_length"):
        with pytest.raises(ConfigError, match=f"{name} is 0"):
            LastTokenEmbedder(**{name: 0})
    with pytest.raises(ConfigError, match="device is 'nowhere'"):
        LastTokenEmbedder(str(tiny_gpt2), device="nowhere").check()
    with pytest.raises(ModelError, match="no/such-model cannot be loaded"):
        LastTokenEmbedder("no/such-model").embed(["a"])
