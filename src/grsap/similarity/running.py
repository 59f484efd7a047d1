"""Runs a comparison in its folder. Embeddings and likelihoods that are on disk are not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from grsap.embedding import Embedder
from grsap.embedding.base import vector_from_text, vector_to_text
from grsap.files import hash_json
from grsap.progress import progress_line
from grsap.records import SafetyRecord
from grsap.result_log import ResultLog
from grsap.similarity.measures import (
    Measure,
    Pair,
    View,
    differences,
    label_measures,
    likelihood_measures,
    text_measures,
)
from grsap.similarity.populations import exchange_of, query_of, response_of
from grsap.similarity.principal import Points
from grsap.similarity.report import Result, cannot_know, inputs_hash, print_result, read_result, write_result
from grsap.similarity.response_kl import response_likelihoods
from grsap.similarity.similarity import Similarity

TEXT_OF: dict[View, Callable[[SafetyRecord], str]] = {
    "query": query_of,
    "response": response_of,
    "exchange": exchange_of,
}
BATCH = 256
"""Texts that are embedded between two writes. Their number may change the last digits of vectors."""


def run_similarity(settings: Similarity, output_dir: Path) -> None:
    """Complete the comparison of a folder, write `similarity.json` and print it.

    Raises:
        UserError: a file of the folder is damaged, or a row cannot be rendered for the model.
    """
    inputs = inputs_hash(settings)
    result = read_result(output_dir, inputs)
    if result is None:
        started = time.monotonic()
        result = _measure(settings, output_dir)
        write_result(settings, result, inputs, time.monotonic() - started, output_dir)
    print_result(result, output_dir)


def _measure(settings: Similarity, output_dir: Path) -> Result:
    measures: list[Measure] = []
    notes: list[str] = []
    drawn = {name: each.draw(2 * settings.num_compared, settings.seed) for name, each in settings.populations.items()}
    vectors = _embed(settings, drawn, output_dir)
    with progress_line("Comparing", len(_pairs(settings, drawn))) as advance:
        for pair in _pairs(settings, drawn):
            own = vectors[pair.population, pair.view]
            other = own[settings.num_compared :] if pair.against == "itself" else vectors["reference", pair.view]
            sides = own[: settings.num_compared], other[: settings.num_compared]
            measures += text_measures(pair, *sides, settings.num_seeds, settings.seed, notes.append)
            advance()
    for name, population in settings.populations.items():
        if settings.reference is not None and name != "reference":
            measures += label_measures(population, settings.populations["reference"], settings.seed, notes.append)
    if settings.model is not None:
        measures += _likelihoods(settings, drawn, output_dir)
    return Result(
        measures=[asdict(measure) for measure in measures],
        differences=[asdict(difference) for difference in differences(measures)],
        cannot_know=[*cannot_know(settings), *notes],
    )


def _pairs(settings: Similarity, drawn: dict[str, list[SafetyRecord]]) -> list[Pair]:
    """Return each set paired with the reference, and each large enough set paired with itself."""
    pairs = []
    for view in settings.views:
        for name in drawn:
            if settings.reference is not None and name != "reference":
                pairs.append(Pair(view, name, "reference"))
            if len(drawn[name]) == 2 * settings.num_compared:
                pairs.append(Pair(view, name, "itself"))
    return pairs


def _embed(
    settings: Similarity, drawn: dict[str, list[SafetyRecord]], output_dir: Path
) -> dict[tuple[str, View], Points]:
    with ResultLog(output_dir / "embeddings.log", ("key",)) as log:
        try:
            return {
                (name, view): _embed_texts(
                    [TEXT_OF[view](record) for record in records],
                    settings.chosen_embedder,
                    log,
                    f"{view} texts of {name}",
                )
                for name, records in drawn.items()
                for view in settings.views
            }
        finally:
            settings.chosen_embedder.close()


def _embed_texts(texts: Sequence[str], embedder: Embedder, log: ResultLog, what: str) -> Points:
    """Return (N, D) float32 vectors of N texts; vectors in `log`, by hash of embedder and text, are reused."""
    identity = embedder.identity()
    keys = [hash_json([identity, text]) for text in texts]
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if (key,) not in log}
    missing = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))  # batches of similar length
    if missing:
        with progress_line(f"Embedding {what}", len(missing)) as advance:
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                vectors = embedder.embed([text for _, text in batch], advance)
                values = [vector_to_text(vector) for vector in vectors]
                log.add([{"key": key, "value": value} for (key, _), value in zip(batch, values, strict=True)])
    return np.stack([vector_from_text(log.entry(key)["value"]) for key in keys])


def _likelihoods(settings: Similarity, drawn: dict[str, list[SafetyRecord]], output_dir: Path) -> list[Measure]:
    """Compute the likelihoods of `num_compared` responses of each set."""
    measures: list[Measure] = []
    assert settings.model is not None
    with ResultLog(output_dir / "likelihoods.log", ("key",)) as log:
        try:
            for name, records in drawn.items():
                found = response_likelihoods(
                    records[: settings.num_compared], settings.model, log, f"responses of {name}"
                )
                pair = Pair("response", name, None)
                if name == "reference":
                    pair = Pair("response", "model", "reference")
                measures += likelihood_measures(pair, found, settings.seed)
        finally:
            settings.model.close()
    return measures
