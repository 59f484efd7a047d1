"""The folder of a cell's model: packaged weights, a folder of one's own, or random weights of a known shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grsap.errors import ConfigError

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    # Llama 3 8B (arXiv 2407.21783, table 3)
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
TOKENIZER = "embedded:smollm2-135m-instruct"
PREFIX = "random:"


def model_folder(path: str, cache: Path) -> Path:
    """Where the weights of a job's `model` lie; random ones are made once, in `cache`.

    Raises:
        ConfigError: there is no such shape.
    """
    if path.startswith(PREFIX):
        name = path.removeprefix(PREFIX)
        if name not in SHAPES:
            raise ConfigError(f"there is no shape {name}", f"Shapes are {', '.join(SHAPES)}")
        folder = cache / f"random-{name}"
        if not (folder / "tokenizer_config.json").is_file():  # written last
            make_random(folder, SHAPES[name])
        return folder
    if path.startswith("embedded:"):
        from grsap.models.embedded_model import embedded_folder

        return embedded_folder(path)
    return Path(path)


def make_random(folder: Path, shape: dict[str, int]) -> None:
    """Write a Llama of random bf16 weights, layer by layer, with SmolLM2's tokenizer; a GPU draws them where one is."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from grsap.models.embedded_model import embedded_folder

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder(TOKENIZER))
    config = LlamaConfig(**{"vocab_size": len(tokenizer), "max_position_embeddings": 8192, **shape})
    config.tie_word_embeddings = False
    config.architectures = ["LlamaForCausalLM"]
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in LlamaForCausalLM(config).state_dict().items()}
    generator = torch.Generator("cuda" if torch.cuda.is_available() else "cpu").manual_seed(0)
    files: dict[str, str] = {}
    for group in sorted({_group(name) for name in shapes}):
        tensors = {name: _weight(name, shapes[name], generator) for name in shapes if _group(name) == group}
        file = f"model-{group}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(tensors, file)
    index: dict[str, Any] = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _group(name: str) -> str:
    parts = name.split(".")
    return f"layer-{int(parts[2]):03d}" if "layers" in parts else "rest"


def _weight(name: str, shape: Any, generator: Any) -> Any:
    import torch

    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    drawn = torch.randn(shape, generator=generator, device=generator.device)
    return (drawn * 0.02).to("cpu", torch.bfloat16)
