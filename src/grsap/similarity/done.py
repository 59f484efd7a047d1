"""What a killed call had worked out already: embeddings of texts and likelihoods of rows, on disk at once."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from grsap.appending import AppendFile
from grsap.checksums import checked_line, read_checked_lines
from grsap.embedding import Embedder
from grsap.errors import DataError
from grsap.files import hash_json
from grsap.progress import progress_line
from grsap.similarity.principal import Points

BATCH = 256
"""Texts that are embedded between two writes."""


class DoneFile:
    """Values by key, in a file that only grows. Opened, it is held until it is closed.

    Args:
        path: JSON lines of `[key, value]`; is made if it is missing, mode 0600.

    Raises:
        DataError: a line is broken; names it.
        RunFolderError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)
        self.values: dict[str, Any] = {}
        for line, entry in read_checked_lines(path):
            if set(entry) != {"key", "value"}:
                raise DataError("no entry of this file", "Remove the file: it is made again", path=path, line=line)
            self.values[entry["key"]] = entry["value"]

    def add(self, values: Iterable[tuple[str, Any]]) -> None:
        """Write values; they are on disk when it returns."""
        values = list(values)
        self._file.append(b"".join(checked_line({"key": key, "value": value}) for key, value in values))
        self.values.update(values)

    def __enter__(self) -> DoneFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def embed_texts(texts: Sequence[str], embedder: Embedder, done: DoneFile, what: str) -> Points:
    """One vector a text, (N, D) float32; those in `done` are not asked for again. Equal texts have equal vectors.

    Args:
        texts: at least one.
        embedder: is asked in batches.
        done: of texts, by hash of embedder and text.
        what: stands in the progress line.
    """
    identity = embedder.identity()
    keys = [hash_json([identity, text]) for text in texts]
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in done.values}
    missing = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))  # batches of like length
    if missing:
        with progress_line(f"Embedding {what}", len(missing)) as advance:
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                vectors = embedder.embed([text for _, text in batch], advance)
                done.add((key, _to_text(vector)) for (key, _), vector in zip(batch, vectors, strict=True))
    return np.stack([_from_text(done.values[key]) for key in keys])


def _to_text(vector: Points) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _from_text(value: str) -> Points:
    return np.frombuffer(base64.b64decode(value), "<f4")
