"""Embeddings of texts, computed once and stored."""

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
"""Texts that are embedded between two writes. Their number may change the last digits of vectors."""


def embed_texts(texts: Sequence[str], embedder: Embedder, log: ResultLog, what: str) -> Points:
    """Embed texts, except those in `log`. Equal texts have equal vectors.

    Args:
        texts: N texts, at least one.
        embedder: computes the vectors.
        log: entries `{key, value}`; the key is a hash of embedder and text. New vectors are added.
        what: name of the texts for the progress line.

    Returns:
        (N, D) float32.
    """
    identity = embedder.identity()
    keys = [hash_json([identity, text]) for text in texts]
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if (key,) not in log}
    missing = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))  # batches of similar length
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
