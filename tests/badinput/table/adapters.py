"""Adapters that are none, are broken, or belong to another model: to be merged, answered with, or evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests.badinput.case import Case, Content
from tests.badinput.table.model_folders import LFS_POINTER, cut, edited, only, with_tensors
from tests.badinput.worlds import BASE, MODEL

CONFIG, WEIGHTS = "adapter/adapter_config.json", "adapter/adapter_model.safetensors"


def whole(path: Path) -> None:
    """A good LoRA of the tiny model, on one projection of each layer."""
    path.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": MODEL,
        "r": 2,
        "lora_alpha": 4,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "bias": "none",
        "inference_mode": True,
    }
    (path / "adapter_config.json").write_text(json.dumps(config))
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight": torch.full(shape, 0.01)
        for layer in range(2)
        for side, shape in (("A", (2, 32)), ("B", (32, 2)))
    }
    save_file(tensors, path / "adapter_model.safetensors", {"format": "pt"})


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
OTHER = FIRST.replace("q_proj", "v_proj")
BROKEN: dict[str, dict[str, Content]] = {
    "config-missing": {CONFIG: None},
    "config-empty": {CONFIG: ""},
    "config-cut": {CONFIG: cut(0.5)},
    "config-list": {CONFIG: "[]"},
    "config-no_type": {CONFIG: edited(lambda c: c.pop("peft_type"))},
    "config-unknown_type": {CONFIG: edited(lambda c: c.update(peft_type="NO_SUCH"))},
    "config-rank_text": {CONFIG: edited(lambda c: c.update(r="two"))},
    "config-rank_zero": {CONFIG: edited(lambda c: c.update(r=0))},
    "config-other_rank": {CONFIG: edited(lambda c: c.update(r=4))},
    "config-unknown_modules": {CONFIG: edited(lambda c: c.update(target_modules=["no_such_proj"]))},
    "config-further_modules": {CONFIG: edited(lambda c: c.update(target_modules=["q_proj", "v_proj"]))},
    "weights-missing": {WEIGHTS: None},
    "weights-empty": {WEIGHTS: b""},
    "weights-cut": {WEIGHTS: cut(0.5)},
    "weights-lfs_pointer": {WEIGHTS: LFS_POINTER},
    "weights-html": {WEIGHTS: "<html>404</html>"},
    "weights-none": {WEIGHTS: only({})},
    "weights-foreign": {WEIGHTS: only({"a.lora_A.weight": torch.zeros(2, 2)})},
    "weights-nan": {WEIGHTS: with_tensors(lambda t: t.update({FIRST: t[FIRST] * float("nan")}))},
    "weights-infinite": {WEIGHTS: with_tensors(lambda t: t.update({FIRST: t[FIRST] * float("inf")}))},
    "weights-renamed": {WEIGHTS: with_tensors(lambda t: [t.update({f"x.{n}": t.pop(n)}) for n in list(t)])},
    "weights-tensor_missing": {WEIGHTS: with_tensors(lambda t: t.pop(FIRST))},
    "weights-tensor_further": {
        WEIGHTS: with_tensors(lambda t: t.update({FIRST.replace("q_", "v_"): t[FIRST].clone()}))
    },
    "weights-tensor_shape": {WEIGHTS: with_tensors(lambda t: t.update({FIRST: torch.zeros(2, 16)}))},
    "bin-pickle": {WEIGHTS: None, "adapter/adapter_model.bin": b"cos\nsystem\n(S'true'\ntR."},
}
USES = {
    "fit-merge_adapter": ("fit", "model.base.merge_adapter"),
    "evaluate-adapter": ("evaluate", "subjects.0.init_args.adapter"),
    "synthesize-adapter": ("synthesize", "generator.init_args.adapter"),
}
CASES = [
    Case(f"{use}-{name}", verb, ("adapter",), {key: "adapter"}, {"adapter": whole, **files}, slow=number % 3 != index)
    for number, (name, files) in enumerate(BROKEN.items())
    for index, (use, (verb, key)) in enumerate(USES.items())
]
PATHS = {
    "missing": "no/such",
    "file": "my.yaml",
    "model_folder": MODEL,
    "unknown_embedded": "embedded:no/such",
}
NO_MODEL = {**BASE, "path": "./no_such_model"}
CASES += [
    Case(f"{use}-path-{name}", verb, (value,), {key: value})
    for use, (verb, key) in USES.items()
    for name, value in PATHS.items()
]
CASES.append(Case("evaluate-base-path", "evaluate", ("no_such_model",), {"subjects.0.init_args.base": NO_MODEL}))
