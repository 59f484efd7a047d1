"""Static embeddings: one table look-up per token, for large sets on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from grsap.embedding.base import Embedder, check_folder, load_from, weights_revision
from grsap.errors import MissingPackageError

BATCH_SIZE = 1024


class StaticEmbedder(Embedder):
    """A model of model2vec: each token has one vector, independent of its context. Hundreds of times as fast as
    a transformer, but ignores the order of words.

    Args:
        path: a Hub id, or the folder of a model that model2vec saved.
    """

    def __init__(self, path: str = "minishlab/potion-base-8M") -> None:
        self.path = path
        self._model: Any = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield batches in the order of the texts."""
        if texts:
            self._load()
        for start in range(0, len(texts), BATCH_SIZE):
            batch = list(texts[start : start + BATCH_SIZE])
            yield range(start, start + len(batch)), self._model.encode(batch, use_multiprocessing=False)

    def identity(self) -> dict[str, Any]:
        """Return the model's name, and the hash of a folder's files or the commit of a Hub id."""
        revision = weights_revision(self.path, None)
        return {"embedder": type(self).__name__, "model": self.path, "revision": revision}

    def check(self) -> None:
        """Raise MissingPackageError without model2vec, and ModelError if a file of the folder is damaged."""
        try:
            import model2vec  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                "StaticEmbedder needs model2vec, which is not installed", "Install grsap with the extra `embeddings`"
            ) from error
        check_folder(self.path)

    def close(self) -> None:
        """Free the weights."""
        self._model = None

    def _load(self) -> None:
        if self._model is not None:
            return
        self.check()
        from model2vec import StaticModel

        self._model = load_from(self.path, partial(StaticModel.from_pretrained, force_download=False), self)
