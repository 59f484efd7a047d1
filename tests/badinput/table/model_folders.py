"""Model folders whose files are missing, broken or of something else, and adapters likewise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tests.badinput.case import Case, Content
from tests.badinput.worlds import MODEL

CONFIG, WEIGHTS, TOKENIZER = f"{MODEL}/config.json", f"{MODEL}/model.safetensors", f"{MODEL}/tokenizer.json"
ADAPTER = "adapter/adapter_model.safetensors"
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def edited(change: Callable[[dict[str, Any]], object]) -> Content:
    """A JSON file with a change."""

    def write(path: Path) -> None:
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return write


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Content:
    """A file of weights with a change."""

    def write(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})

    return write


def cut(keep: float) -> Content:
    """The beginning of a file: a share of it."""

    def write(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return write


def only(tensors: dict[str, torch.Tensor]) -> Content:
    """A file of these tensors."""
    return lambda path: save_file(tensors, path, {"format": "pt"})


NORM = "model.norm.weight"


def _embedding(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of the first hundred tokens."""
    name = "model.embed_tokens.weight"
    return {name: tensors[name][:100]}


BROKEN_MODELS: dict[str, tuple[dict[str, Content], str]] = {
    "config-missing": ({CONFIG: None}, MODEL),
    "config-empty": ({CONFIG: ""}, MODEL),
    "config-cut": ({CONFIG: cut(0.5)}, MODEL),
    "config-list": ({CONFIG: "[]"}, MODEL),
    "config-null": ({CONFIG: "null"}, MODEL),
    "config-words": ({CONFIG: "a config"}, MODEL),
    "config-empty_object": ({CONFIG: "{}"}, MODEL),
    "config-unknown_type": ({CONFIG: edited(lambda c: c.update(model_type="no_such_model"))}, MODEL),
    "config-type_number": ({CONFIG: edited(lambda c: c.update(model_type=5))}, MODEL),
    "config-no_type": ({CONFIG: edited(lambda c: c.pop("model_type"))}, MODEL),
    "config-hidden_size_text": ({CONFIG: edited(lambda c: c.update(hidden_size="many"))}, MODEL),
    "config-hidden_size_zero": ({CONFIG: edited(lambda c: c.update(hidden_size=0))}, MODEL),
    "config-negative_layers": ({CONFIG: edited(lambda c: c.update(num_hidden_layers=-1))}, MODEL),
    "config-more_layers": ({CONFIG: edited(lambda c: c.update(num_hidden_layers=5))}, MODEL),
    "config-fewer_layers": ({CONFIG: edited(lambda c: c.update(num_hidden_layers=1))}, MODEL),
    "config-other_heads": ({CONFIG: edited(lambda c: c.update(num_attention_heads=3))}, MODEL),
    "config-wider": ({CONFIG: edited(lambda c: c.update(hidden_size=64))}, MODEL),
    "config-encoder": ({CONFIG: edited(lambda c: c.update(model_type="bert", architectures=["BertModel"]))}, MODEL),
    "config-deep": ({CONFIG: "[" * 100_000}, MODEL),
    "config-binary": ({CONFIG: bytes(range(256))}, MODEL),
    "config-bad_dtype": ({CONFIG: edited(lambda c: c.update(dtype="float7"))}, MODEL),
    "config-bad_activation": ({CONFIG: edited(lambda c: c.update(hidden_act="no_such_act"))}, MODEL),
    "config-bad_rope": ({CONFIG: edited(lambda c: c.update(rope_parameters={"rope_type": "no_such"}))}, MODEL),
    "weights-missing": ({WEIGHTS: None}, MODEL),
    "weights-empty": ({WEIGHTS: b""}, MODEL),
    "weights-cut": ({WEIGHTS: cut(0.5)}, MODEL),
    "weights-cut_header": ({WEIGHTS: cut(0.001)}, MODEL),
    "weights-lfs_pointer": ({WEIGHTS: LFS_POINTER}, MODEL),
    "weights-html": ({WEIGHTS: "<html>404</html>"}, MODEL),
    "weights-huge_header": ({WEIGHTS: b"\xff" * 16}, MODEL),
    "weights-zeros": ({WEIGHTS: bytes(4096)}, MODEL),
    "weights-tensor_missing": ({WEIGHTS: with_tensors(lambda t: t.pop(NORM))}, MODEL),
    "weights-tensor_further": ({WEIGHTS: with_tensors(lambda t: t.update(further=torch.zeros(2)))}, MODEL),
    "weights-tensor_shape": ({WEIGHTS: with_tensors(lambda t: t.update({NORM: torch.zeros(5)}))}, MODEL),
    "weights-renamed": ({WEIGHTS: with_tensors(lambda t: [t.update({f"x.{n}": t.pop(n)}) for n in list(t)])}, MODEL),
    "weights-none": ({WEIGHTS: only({})}, MODEL),
    "weights-foreign": ({WEIGHTS: only({"a": torch.zeros(3)})}, MODEL),
    "tokenizer-missing": ({TOKENIZER: None}, MODEL),
    "tokenizer-empty": ({TOKENIZER: ""}, MODEL),
    "tokenizer-cut": ({TOKENIZER: cut(0.5)}, MODEL),
    "tokenizer-list": ({TOKENIZER: "[]"}, MODEL),
    "tokenizer-lfs_pointer": ({TOKENIZER: LFS_POINTER}, MODEL),
    "tokenizer-binary": ({TOKENIZER: bytes(range(256))}, MODEL),
    "tokenizer_config-cut": ({f"{MODEL}/tokenizer_config.json": cut(0.5)}, MODEL),
    "tokenizer_config-list": ({f"{MODEL}/tokenizer_config.json": "[]"}, MODEL),
    "generation_config-cut": ({f"{MODEL}/generation_config.json": cut(0.5)}, "generation_config.json"),
    "vocabulary-smaller_embedding": (
        {CONFIG: edited(lambda c: c.update(vocab_size=100)), WEIGHTS: with_tensors(lambda t: t.update(_embedding(t)))},
        "100",
    ),
}

VERBS = {"fit": "fit", "predict": "predict", "synthesize": "synthesize", "evaluate": "evaluate"}
CASES = [
    Case(f"{verb}-model-{name}", verb, (named,), files=files, slow=number % 4 != index)
    for number, (name, (files, named)) in enumerate(BROKEN_MODELS.items())
    for index, verb in enumerate(VERBS)
]

NAMES: dict[str, str] = {
    "missing": "./no_such_model",
    "file": "task.jsonl",
    "empty_folder": "empty",
    "nul": "mod\0el",
    "unknown_embedded": "embedded:no_such_model",
    "parent": "..",
    "address": "https://a.invalid/model",
    "three_parts": "a/b/c",
}
CASES += [
    Case(
        f"fit-model.base.path-{name}",
        "fit",
        ("model.base.path",) if name != "unknown_embedded" else ("no_such_model",),
        {"model.base.path": value},
        {"empty/.keep": ""},
    )
    for name, value in NAMES.items()
]
