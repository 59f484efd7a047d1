"""The settings of a comparison: how close a replay set comes to a reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grsap.embedding import Embedder, MiniLMEmbedder
from grsap.errors import ConfigError, DataError
from grsap.generation import Generator
from grsap.similarity.populations import Population, read_population

MIN_ROWS = 20
"""Rows a side that the estimators need."""


@dataclass(frozen=True)
class Similarity:
    """Says how close a replay set, raw and curated, comes to the data that a model was aligned on.

    Args:
        raw: what was synthesised: a folder of `grsap synthesize`, or a file of safety rows.
        curated: what is replayed: a file of safety rows.
        reference: the data that the model was aligned on; without it only measures of a set by itself are reported.
        embedder: texts to vectors; by default the packaged MiniLM.
        model: the aligned model, whose likelihoods of responses are reported; by default none.
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
            self.model.likelihoods(())  # raises if the backend gives none
            _ = self.model.template

    def identities(self) -> dict[str, Any]:
        """What embedded and what scored, as `similarity.json` has it."""
        model = self.model
        return {
            "embedder": self.chosen_embedder.identity(),
            "model": None
            if model is None
            else {"name": model.model_name, "revision": model.weights_revision(), "identity": model.identity()},
        }
