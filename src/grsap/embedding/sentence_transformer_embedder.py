"""Models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from packaging.version import Version

from grsap.embedding.base import Embedder, by_length, check_folder, load_from, weights_revision
from grsap.errors import ConfigError, MissingPackageError, ModelError
from grsap.files import user_path
from grsap.json_text import read_json
from grsap.versions import installed_versions

PACKAGE = "sentence-transformers"
MIN_VERSION = "6.0"
PAPER_MODEL = "BAAI/bge-small-en-v1.5"


class SentenceTransformerEmbedder(Embedder):
    """A model that sentence-transformers loads; the default is the paper's.

    Args:
        path: a Hub id or a folder.
        revision: commit of a Hub id.
        device: such as `cuda`; `auto` is the first GPU, or the CPU if there is none.
        batch_size: texts per batch.

    Raises:
        ConfigError: `batch_size` is not positive.
    """

    def __init__(
        self, path: str = PAPER_MODEL, revision: str | None = None, device: str = "auto", batch_size: int = 64
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", "Give at least 1")
        self.path = path
        self.revision = revision
        self.device = device
        self.batch_size = batch_size
        self._model: Any = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield batches of texts of similar length."""
        if texts:
            self._load()
        for indices in by_length(texts, self.batch_size):
            batch = [texts[index] for index in indices]
            yield indices, self._model.encode(batch, batch_size=len(batch), show_progress_bar=False)

    def identity(self) -> dict[str, Any]:
        """Return model, revision, and the batch size, which changes the last digits."""
        return {
            "embedder": type(self).__name__,
            "model": self.path,
            "revision": weights_revision(self.path, self.revision),
            "batch_size": self.batch_size,
        }

    def check(self) -> None:
        """Check the package's version, and that the model needs no custom code.

        Raises:
            MissingPackageError: sentence-transformers is not installed, or older than `MIN_VERSION`.
            ModelError: a module of the folder is not a class of sentence-transformers, or a weight file is damaged.
        """
        version = installed_versions([PACKAGE])[PACKAGE]
        if version is None:
            raise MissingPackageError(
                f"SentenceTransformerEmbedder needs {PACKAGE}, which is not installed",
                "Install grsap with the extra `embeddings`",
            )
        if Version(version) < Version(MIN_VERSION):
            raise MissingPackageError(
                f"{PACKAGE} {version} runs the code of any model folder", f"Install {PACKAGE}>={MIN_VERSION}"
            )
        folder = user_path(self.path)
        for kind in module_types(folder / "modules.json"):
            if not kind.startswith("sentence_transformers."):
                raise ModelError(
                    f"{folder / 'modules.json'} names the module {kind}, which is code outside of {PACKAGE}",
                    "Use a model of classes of sentence-transformers; code of a model folder is never run",
                )
        check_folder(self.path)

    def close(self) -> None:
        """Free the weights."""
        self._model = None

    def _load(self) -> None:
        if self._model is not None:
            return
        self.check()
        # the package runs no code of a model folder by default, and `check` has rejected models that need it
        from sentence_transformers import SentenceTransformer

        device = None if self.device == "auto" else self.device
        self._model = load_from(self.path, partial(SentenceTransformer, device=device, revision=self.revision), self)


def module_types(path: Path) -> list[str]:
    """Return the classes that a `modules.json` names; none if there is no such file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        modules = read_json(path)
        return [str(module["type"]) for module in modules]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", "Fetch the model again") from error
