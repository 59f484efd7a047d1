"""How close a replay set comes to a reference: the settings, and the work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from grsap.embedding import Embedder, MiniLMEmbedder
from grsap.errors import ConfigError, DataError
from grsap.generation import Generator
from grsap.progress import progress_line
from grsap.records import SafetyRecord
from grsap.similarity.done import DoneFile, embed_texts
from grsap.similarity.measures import (
    Measure,
    Pair,
    View,
    differences,
    label_measures,
    likelihood_measures,
    text_measures,
)
from grsap.similarity.populations import Population, read_population, texts_of
from grsap.similarity.principal import Points
from grsap.similarity.report import Result, cannot_know, inputs_hash, print_result, read_result, write_result
from grsap.similarity.response_kl import response_likelihoods

MIN_ROWS = 20
"""Rows a side that the estimators need."""
TEXT_VIEWS: tuple[View, ...] = get_args(View)[:2]


@dataclass(frozen=True)
class Similarity:
    """Says how close a replay set, raw and curated, comes to the data that a model was aligned on.

    Args:
        raw: what was synthesised: a folder of `grsap synthesize`, or a file of safety rows.
        curated: what is replayed: a file of safety rows.
        reference: the data that the model was aligned on; without it only what can be known of a set by itself is told.
        embedder: texts to vectors; by default the packaged MiniLM.
        model: the aligned model, whose likelihoods of responses are told; by default none.
        max_rows: most rows a side in a comparison; the paper has 10,000.
        num_seeds: k-means runs of MAUVE.
        seed: of all that is random.
    """

    raw: str | None = None
    curated: str | None = None
    reference: str | None = None
    embedder: Embedder | None = None
    model: Generator | None = None
    max_rows: int = 10_000
    num_seeds: int = 5
    seed: int = 0

    @cached_property
    def populations(self) -> dict[str, Population]:
        """The sets that were given, by name."""
        paths = {"raw": self.raw, "curated": self.curated, "reference": self.reference}
        return {name: read_population(name, path) for name, path in paths.items() if path is not None}

    @cached_property
    def chosen_embedder(self) -> Embedder:
        """The one that is set, or the default."""
        return self.embedder or MiniLMEmbedder()

    @cached_property
    def num_compared(self) -> int:
        """Rows of each side in all comparisons: as many as all sets have, and the reference twice, because half of it
        is compared with the other half; without a reference all sets are."""
        halved = ["reference"] if self.reference else list(self.populations)
        sizes = [len(each.records) // (2 if name in halved else 1) for name, each in self.populations.items()]
        return min(self.max_rows, *sizes)

    def check(self) -> None:
        """Find what is wrong with settings and files; loads no weights.

        Raises:
            UserError: names setting, file or row.
        """
        if self.raw is None and self.curated is None:
            raise ConfigError("neither raw nor curated is set", "Give at least one of them: what is to be described")
        for name, smallest in (("max_rows", MIN_ROWS), ("num_seeds", 1)):
            if getattr(self, name) < smallest:
                raise ConfigError(f"{name} is {getattr(self, name)}", f"Give at least {smallest}")
        if self.num_compared < MIN_ROWS:
            sizes = ", ".join(f"{name} {len(each.records)}" for name, each in self.populations.items())
            halved = "the reference" if self.reference else "each set"
            raise DataError(
                f"too few rows to compare ({sizes})",
                f"Give at least {MIN_ROWS} a set, and twice as many of {halved}, which is compared with itself too",
            )
        self.chosen_embedder.check()
        if self.model is not None:
            self.model.likelihoods(())  # a backend that cannot tell says so
            _ = self.model.template

    def run(self, output_dir: Path) -> None:
        """Work out what is missing in a folder, write `similarity.json` and print it.

        Raises:
            UserError: a file of the folder is broken, or a row cannot be rendered for the model.
        """
        inputs = inputs_hash(self)
        result = read_result(output_dir, inputs)
        if result is None:
            started = time.monotonic()
            result = self._measure(output_dir)
            write_result(self, result, inputs, time.monotonic() - started, output_dir)
        print_result(result, output_dir)

    def _measure(self, output_dir: Path) -> Result:
        measures: list[Measure] = []
        notes: list[str] = []
        drawn = {name: each.draw(2 * self.num_compared, self.seed) for name, each in self.populations.items()}
        vectors = self._embed(drawn, output_dir)
        with progress_line("Comparing", len(self._pairs(drawn))) as advance:
            for pair in self._pairs(drawn):
                own = vectors[pair.population, pair.view]
                other = own[self.num_compared :] if pair.against == "itself" else vectors["reference", pair.view]
                sides = own[: self.num_compared], other[: self.num_compared]
                measures += text_measures(pair, *sides, self.num_seeds, self.seed, notes.append)
                advance()
        for name, population in self.populations.items():
            if self.reference is not None and name != "reference":
                measures += label_measures(population, self.populations["reference"], self.seed, notes.append)
        if self.model is not None:
            measures += self._likelihoods(drawn, output_dir)
        return Result(
            measures=[measure.to_dict() for measure in measures],
            differences=[difference.to_dict() for difference in differences(measures)],
            cannot_know=[*cannot_know(self), *notes],
        )

    def _pairs(self, drawn: dict[str, list[SafetyRecord]]) -> list[Pair]:
        """Each set against the reference, and each that is large enough against itself."""
        pairs = []
        for view in TEXT_VIEWS:
            for name in drawn:
                if self.reference is not None and name != "reference":
                    pairs.append(Pair(view, name, "reference"))
                if len(drawn[name]) == 2 * self.num_compared:
                    pairs.append(Pair(view, name, "itself"))
        return pairs

    def _embed(self, drawn: dict[str, list[SafetyRecord]], output_dir: Path) -> dict[tuple[str, View], Points]:
        with DoneFile(output_dir / "embeddings.log") as done:
            try:
                return {
                    (name, view): embed_texts(
                        texts_of(records, view), self.chosen_embedder, done, f"{view} texts of {name}"
                    )
                    for name, records in drawn.items()
                    for view in TEXT_VIEWS
                }
            finally:
                self.chosen_embedder.close()

    def _likelihoods(self, drawn: dict[str, list[SafetyRecord]], output_dir: Path) -> list[Measure]:
        """Of as many rows a set as are compared."""
        measures: list[Measure] = []
        assert self.model is not None
        with DoneFile(output_dir / "likelihoods.log") as done:
            try:
                for name, records in drawn.items():
                    found = response_likelihoods(records[: self.num_compared], self.model, done, f"responses of {name}")
                    pair = Pair("response", name, None)
                    if name == "reference":
                        pair = Pair("response", "model", "reference")
                    measures += likelihood_measures(pair, found, self.seed)
            finally:
                self.model.close()
        return measures

    def identities(self) -> dict[str, Any]:
        """What embedded and what scored, as `similarity.json` has it."""
        model = self.model
        return {
            "embedder": self.chosen_embedder.identity(),
            "model": None
            if model is None
            else {"name": model.model_name, "revision": model.weights_revision(), "identity": model.identity()},
        }
