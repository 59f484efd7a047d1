"""Folders of weights: damaged, incomplete or foreign ones are told before weights load, and any change is seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from grsap.embedding.base import weights_revision
from grsap.errors import ModelError
from grsap.models import BaseModel, TokenizerSource
from grsap.models.cache import remembered_hash
from grsap.models.weight_files import WeightFiles, is_finite

CPU = torch.device("cpu")
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"


@pytest.fixture
def model(tmp_path: Path, tiny_base_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base_path, tmp_path / "model"))


@pytest.fixture
def sharded(tmp_path: Path, tiny_base_path: Path) -> Path:
    AutoModelForCausalLM.from_pretrained(tiny_base_path).save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    for file in tiny_base_path.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "sharded")
    return tmp_path / "sharded"


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    weights = folder / "model.safetensors"
    save_file(change(load_file(weights)), weights, {"format": "pt"})


def change_config(folder: Path, **settings: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))


def base(folder: Path) -> BaseModel:
    return BaseModel(str(folder), quantization="none")


NORM = "model.norm.weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        r"model.safetensors is damaged: .*incomplete metadata",
    ),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), r"model.safetensors is empty"),
    "text": (lambda folder: (folder / "model.safetensors").write_text("<html>"), r"model.safetensors is damaged"),
    "LFS pointer": (
        lambda folder: (folder / "model.safetensors").write_text(LFS),
        r"model.safetensors is a git LFS pointer.*git lfs pull",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"model has no weights"),
    "config is a pointer": (lambda folder: (folder / "config.json").write_text(LFS), r"config.json is a git LFS"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), r"config.json is not valid JSON"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), r"config.json holds a JSON list"),
    "unknown model_type": (lambda folder: change_config(folder, model_type="lamma"), r"lamma"),
    "no model_type": (lambda folder: (folder / "config.json").write_text("{}"), r"cannot be loaded|cannot be read"),
    "wrong type": (lambda folder: change_config(folder, hidden_size="big"), r"config.json"),
    "nonsense": (lambda folder: change_config(folder, num_attention_heads=0), r"config.json"),
    "no causal model": (
        lambda folder: change_config(folder, model_type="vit", architectures=["ViTModel"]),
        r"describes no model",
    ),
    "an adapter": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        r"holds an adapter.*as merge_adapter",
    ),
    "a tensor is missing": (
        lambda folder: change_weights(folder, lambda t: {k: v for k, v in t.items() if k != NORM}),
        rf"model: the tensor {NORM} is missing",
    ),
    "a tensor too many": (
        lambda folder: change_weights(folder, lambda t: {**t, "v_head.weight": torch.zeros(1)}),
        r"model: the tensor v_head.weight has no place in the model",
    ),
    "another shape": (
        lambda folder: change_weights(folder, lambda t: {**t, NORM: torch.ones(31)}),
        rf"model: the tensor {NORM} has the shape \(31,\), and the model's is \(32,\)",
    ),
    "another config": (
        lambda folder: change_config(folder, num_hidden_layers=3),
        r"the tensor model.layers.2.* is missing \(and 8 more like it\)",
    ),
    "renamed": (
        lambda folder: change_weights(folder, lambda t: {f"x.{k}": v for k, v in t.items()}),
        r"is missing \(and \d+ more like it\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_with_a_folder_is_told_before_weights_load(
    model: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    damage, message = DAMAGES[name]
    damage(model)
    monkeypatch.setattr(WeightFiles, "check_finite", lambda self: pytest.fail("values were read"))
    with pytest.raises(ModelError, match=message):
        base(model).check_weights()
    with pytest.raises(ModelError, match=message):
        base(model).load(CPU)


def move_out(shard: Path, name: Path) -> None:
    """Move a shard out of its folder, and have the index name it there."""
    index = shard.parent / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(shard.name, str(name)))
    shard.rename(shard.parent / name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda shard: shard.unlink(),
            r"model-00002-of-\d+.safetensors is missing, which model.safetensors.index.json",
        ),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-1]), r"model-00002-of-\d+.safetensors is damaged"),
        (lambda shard: (shard.parent / "model.safetensors.index.json").write_text("{}"), r"has no weight_map"),
        (lambda shard: move_out(shard, Path("..") / shard.name), r"index.json names the file '../model-00002-"),
        (lambda shard: move_out(shard, shard.parent.parent / shard.name), r"index.json names the file '/.* outside"),
        (
            lambda shard: change_config(shard.parent, transformers_weights="../other.safetensors"),
            r"config.json names the file '../other.safetensors', which is outside its folder",
        ),
    ],
)
def test_all_shards_must_be_there(sharded: Path, damage: Callable[[Path], object], message: str) -> None:
    base(sharded).check_weights()
    damage(next(sharded.glob("model-00002-*")))
    with pytest.raises(ModelError, match=message):
        base(sharded).check_weights()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_value_that_is_not_finite_is_found_before_it_is_quantized(
    model: Path, value: float, quantization: str
) -> None:
    name = "model.layers.1.mlp.up_proj.weight"

    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors[name][3, 5] = value
        return tensors

    change_weights(model, spoil)
    with pytest.raises(ModelError, match=rf"model.safetensors: the tensor {name} is not finite"):
        BaseModel(str(model), quantization=quantization).load(CPU)  # type: ignore[arg-type]


def test_finite_in_all_formats() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        assert is_finite(torch.ones(3).to(dtype))
        assert not is_finite(torch.tensor([1.0, float("nan")]).to(dtype))
    assert is_finite(torch.zeros(0))
    assert is_finite(torch.tensor([2**62]))


def test_weights_as_pickles_are_checked_too(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    base(model).check_weights()
    torch.save({k: v for k, v in weights.items() if k != NORM}, model / "pytorch_model.bin")
    with pytest.raises(ModelError, match=rf"the tensor {NORM} is missing"):
        base(model).check_weights()


@pytest.mark.parametrize("config", [MistralConfig, LlamaConfig])
def test_what_an_architecture_ties_or_ignores_is_fine(tmp_path: Path, tiny_base_path: Path, config: type) -> None:
    made = config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(made).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4)}  # as checkpoints had it once
    change_weights(tmp_path, lambda tensors: {**tensors, **old})
    base(tmp_path).load(CPU)


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("config.json", True),
        ("generation_config.json", True),
        ("tokenizer.json", True),
        ("chat_template.jinja", True),
        ("modeling_own.py", True),
        ("README.md", False),
        ("pytorch_model.bin", False),
        ("trainer.ckpt", False),
    ],
)
def test_every_file_that_loads_counts(model: Path, file: str, counts: bool) -> None:
    before = WeightFiles.of_model(model).hash
    path = model / file
    path.write_text((path.read_text() if path.exists() else "{}") + "\n")
    assert (WeightFiles.of_model(model).hash != before) is counts
    assert (base(model).weights_revision() != before) is counts


def test_each_shard_and_the_index_count(sharded: Path) -> None:
    def hashed() -> str:
        return WeightFiles.of_model(sharded).hash

    seen = {hashed()}
    for file in sorted(sharded.glob("model*")):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"}", b" }", 1) if file.suffix == ".json" else content[:-1] + b"x")
        seen.add(hashed())
    assert len(seen) == 1 + len(list(sharded.glob("model*")))


def test_a_large_file_is_read_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("grsap.models.cache.MIN_REMEMBERED_BYTES", 1)
    monkeypatch.setattr("grsap.models.cache._MIN_AGE_S", -1.0)
    file = tmp_path / "weights"
    file.write_bytes(b"first")
    read: list[str] = []
    from grsap.files import hash_file

    monkeypatch.setattr("grsap.models.cache.hash_file", lambda path: (read.append(path), hash_file(path))[1])
    assert remembered_hash(file) == remembered_hash(file) == hash_file(file)
    assert len(read) == 1
    file.write_bytes(b"other")
    assert remembered_hash(file) == hash_file(file)
    monkeypatch.setattr("grsap.models.cache._MIN_AGE_S", 3600.0)  # too young to be sure
    file.write_bytes(b"third")
    assert remembered_hash(file) == remembered_hash(file) == hash_file(file)
    assert len(read) == 4


def test_a_hub_model_is_its_commit(tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "a" * 40, "b" * 40
    repository = tmp_path / "hub" / "models--org--tiny"
    for commit in (first, second):
        shutil.copytree(tiny_base_path, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(first)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub = BaseModel("org/tiny", quantization="none")
    assert hub.content_hash == first
    hub.check_weights()
    (repository / "refs" / "main").write_text(second)
    moved = BaseModel("org/tiny", quantization="none")
    assert moved.content_hash == second
    (repository / "snapshots" / second / "model.safetensors").write_text(LFS)
    with pytest.raises(ModelError, match=r"git LFS pointer"):
        moved.check_weights()
    (repository / "snapshots" / second / "model.safetensors").unlink()
    moved.check_weights()  # to be fetched


def test_settings_of_quantization_tell_models_apart(model: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"quantization": "none"},
        {"quantization": "none", "compute_dtype": "float32"},
        {},
        {"double_quantization": False},
        {"skip_modules": ["model.layers.0"]},
        {"quantization": "int8"},
    ]
    assert len({BaseModel(str(model), **each).weights_revision() for each in settings}) == len(settings)


def test_the_tokenizer_of_a_served_model_counts(model: Path) -> None:
    def identity() -> dict[str, Any]:
        return TokenizerSource(str(model)).identity()

    before = identity()
    (model / "model.safetensors").unlink()
    assert identity() == before
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + " ")
    assert identity() != before


def test_an_embedder_is_all_files_of_its_folder(tmp_path: Path) -> None:
    pooling = tmp_path / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    files = [pooling, *(tmp_path / name for name in ("modules.json", "tokenizer.json", "model.safetensors"))]
    for file in files:
        file.write_text("{}")
    seen = {weights_revision(str(tmp_path), None)}
    for file in files:
        file.write_text("[]")
        seen.add(weights_revision(str(tmp_path), None))
    assert len(seen) == 5
    assert weights_revision("org/embedder", "v1") == "v1"
