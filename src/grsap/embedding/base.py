"""What it takes to embed texts.

Shapes: N texts, D dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grsap.files import user_path
from grsap.models.pretrained import hub_commit
from grsap.models.weight_files import hash_folder
from grsap.progress import Advance

Embeddings = NDArray[np.float32]


class Embedder(ABC):
    """Gives each text a vector of length 1, so that a dot product is a cosine. One method to write: `batches`."""

    @abstractmethod
    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield (indices into `texts`, their vectors (B, D)), each index once, in any order.

        A text's vector depends on the text and the settings, and on the other texts in its last digits at most.
        """

    def embed(self, texts: Sequence[str], advance: Advance = lambda items=1, tokens=0: None) -> Embeddings:
        """One vector a text.

        Args:
            texts: N of them; may be none.
            advance: told of each batch, as `grsap.progress.progress_line` gives it.

        Returns:
            (N, D) float32, in the order of the texts. Rows have length 1; a text that the model gives no vector at all
            has zeros, and is like nothing. (0, 0) without a text.

        Raises:
            MissingPackageError: an optional package is not installed.
            ModelError: the model cannot be found.
        """
        result: Embeddings | None = None
        for indices, vectors in self.batches(texts):
            if result is None:
                result = np.zeros((len(texts), vectors.shape[1]), np.float32)
            wide = np.asarray(vectors, np.float64)
            lengths = np.linalg.norm(wide, axis=1, keepdims=True)
            result[np.asarray(indices)] = wide / np.where(lengths > 0, lengths, 1)
            advance(len(indices))
        return np.zeros((0, 0), np.float32) if result is None else result

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells these vectors from another embedder's, for manifests and caches; JSON values. Loads no weights."""

    def check(self) -> None:  # noqa: B027 (most need nothing)
        """Find what is missing before anything expensive is done; loads no weights.

        Raises:
            UserError: a package or model is missing.
        """

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Give back memory; a later call takes it anew."""


def weights_revision(path: str, revision: str | None) -> str | None:
    """Of a folder the hash of all files that load; of a Hub id its commit on this machine, else `revision`."""
    folder = user_path(path)
    return hash_folder(folder) if folder.is_dir() else hub_commit(path, revision) or revision


def by_length(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, longest texts first, so that little is padding."""
    order = sorted(range(len(texts)), key=lambda index: (-len(texts[index]), index))
    yield from (order[start : start + size] for start in range(0, len(order), size))
