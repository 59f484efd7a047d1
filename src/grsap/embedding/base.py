"""The interface of embedders.

Shapes: N texts, D dimensions.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grsap.errors import ModelError, first_line
from grsap.files import user_path
from grsap.models.pretrained import hub_commit
from grsap.models.weight_files import WeightFiles
from grsap.plugins import PluginError, described
from grsap.progress import Advance

Embeddings = NDArray[np.float32]


class Embedder(ABC):
    """Embeds texts as vectors of length 1, so that a dot product is a cosine. Implement `batches` and `identity`."""

    @abstractmethod
    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield (indices into `texts`, their vectors (B, D)), each index once, in any order.

        A text's vector depends on the text and the settings; other texts may change only its last digits.
        """

    def embed(self, texts: Sequence[str], advance: Advance = lambda items=1, tokens=0: None) -> Embeddings:
        """Embed texts.

        Args:
            texts: N texts; may be empty.
            advance: called with the size of each batch; see `grsap.progress.progress_line`.

        Returns:
            (N, D) float32, in the order of the texts; (0, 0) if N is 0. Rows have length 1, or are 0 if the model gives
            a text no vector.

        Raises:
            MissingPackageError: an optional package is not installed.
            ModelError: the model cannot be found.
            PluginError: `batches` does not yield one finite vector per text, all of the same size.
        """
        result: Embeddings | None = None
        missing = np.ones(len(texts), bool)
        for batch in self.batches(texts):
            indices, wide = self._checked(batch, missing, None if result is None else result.shape[1])
            missing[indices] = False
            if result is None:
                result = np.zeros((len(texts), wide.shape[1]), np.float32)
            lengths = np.linalg.norm(wide, axis=1, keepdims=True)
            result[indices] = wide / np.where(lengths > 0, lengths, 1)
            advance(len(indices))
        if missing.any():
            raise PluginError(
                self, "batches", f"leaves out {missing.sum()} of {len(texts)} texts", "Yield each index once"
            )
        return np.zeros((0, 0), np.float32) if result is None else result

    def _checked(
        self, batch: Any, missing: NDArray[np.bool_], size: int | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Check a batch that `batches` yields, and return its indices (B,) and vectors (B, D)."""
        remedy = "Yield (indices, vectors): each index once, and an array of shape (number of indices, dimensions)"
        try:
            indices, vectors = batch
            places, wide = np.asarray(indices), np.asarray(vectors, np.float64)
        except (TypeError, ValueError) as error:
            raise PluginError(self, "batches", f"yields {described(batch)}", remedy) from error
        if wide.ndim != 2 or places.shape != wide.shape[:1] or wide.shape[1] < 1 or size not in (None, wide.shape[1]):
            before = "" if size is None else f", after vectors of {size} dimensions"
            raise PluginError(
                self, "batches", f"yields vectors of shape {wide.shape} for {places.size} indices{before}", remedy
            )
        is_new = places.dtype.kind in "iu" and ((places >= 0) & (places < len(missing))).all()
        if not is_new or len(set(places.tolist())) < len(places) or not missing[places].all():
            raise PluginError(self, "batches", f"yields the indices {places.tolist()[:5]}", remedy)
        if not np.isfinite(wide).all():
            row = int(places[np.flatnonzero(~np.isfinite(wide).all(1))[0]])
            raise PluginError(self, "batches", f"yields a vector that is not finite for text {row}", remedy)
        return places, wide

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return JSON values that determine the vectors, for manifests and caches, without loading weights."""

    def check(self) -> None:  # noqa: B027 (most need nothing)
        """Check packages and files before expensive work, without loading weights.

        Raises:
            UserError: a package or model is missing.
        """

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Free memory; reloads on next use."""


def load_from(path: str, load: Callable[[str], Any], embedder: Embedder) -> Any:
    """Load a model from a folder or a Hub id.

    Args:
        path: as configured.
        load: loads the model, given the expanded path of a folder, or the Hub id.
        embedder: owner of the argument `path`, for error messages.

    Raises:
        ModelError: it cannot be loaded.
    """
    folder = user_path(path)
    try:
        return load(str(folder) if folder.exists() else path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"path {path} cannot be loaded: {first_line(error)}",
            "Check the id and the network, or give a folder; offline, MiniLMEmbedder needs neither",
            part=embedder,
        ) from error


def weights_revision(path: str, revision: str | None) -> str | None:
    """Return the hash of a folder's files, or the commit of a Hub id on this machine, else `revision`."""
    folder = user_path(path)
    return WeightFiles.of_folder(folder).hash if folder.is_dir() else hub_commit(path, revision) or revision


def check_folder(path: str) -> None:
    """Check the file headers of a folder's weights; does nothing for a Hub id.

    Raises:
        ModelError: a file is damaged; names it.
    """
    folder = user_path(path)
    if folder.is_dir():
        WeightFiles.of_folder(folder).shapes()


def by_length(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Yield indices in batches of `size`, longest texts first, to reduce padding."""
    order = sorted(range(len(texts)), key=lambda index: (-len(texts[index]), index))
    yield from (order[start : start + size] for start in range(0, len(order), size))


def vector_to_text(vector: Embeddings) -> str:
    """Encode a vector (D,) as base64 of little-endian float32."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def vector_from_text(text: str) -> Embeddings:
    """Decode a vector (D,) that `vector_to_text` encoded."""
    return np.frombuffer(base64.b64decode(text), "<f4")
