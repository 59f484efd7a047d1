"""Embeddings of texts, computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grsap.embedding import Embedder
from grsap.embedding.base import vector_from_text, vector_to_text
from grsap.files import hash_json
from grsap.progress import progress_line
from grsap.result_log import ResultLog
from grsap.similarity.principal import Points

BATCH = 256
"""Texts that are embedded between two writes."""


def embed_texts(texts: Sequence[str], embedder: Embedder, log: ResultLog, what: str) -> Points:
    """One vector a text, (N, D) float32; those in `log` are not computed again. Equal texts have equal vectors.

    Args:
        texts: at least one.
        embedder: is asked in batches.
        log: of `{key, value}`, by hash of embedder and text.
        what: shown in the progress line.
    """
    identity = embedder.identity()
    keys = [hash_json([identity, text]) for text in texts]
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if (key,) not in log}
    missing = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))  # batches of like length
    if missing:
        with progress_line(f"Embedding {what}", len(missing)) as advance:
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                vectors = embedder.embed([text for _, text in batch], advance)
                log.add(
                    [
                        {"key": key, "value": vector_to_text(vector)}
                        for (key, _), vector in zip(batch, vectors, strict=True)
                    ]
                )
    return np.stack([vector_from_text(log.entry(key)["value"]) for key in keys])
