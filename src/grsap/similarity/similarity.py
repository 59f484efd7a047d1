"""Settings of a comparison of a replay set with a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from grsap.embedding import Embedder, MiniLMEmbedder
from grsap.errors import ConfigError, DataError
from grsap.generation import Generator
from grsap.similarity.populations import Population, read_population

MIN_ROWS = 20
"""Least number of rows per side that the estimators need."""


@dataclass(frozen=True)
class Similarity:
    """Measure how similar a replay set, raw and curated, is to the data that a model was aligned on.

    Args:
        raw: the synthesised set: a folder of `grsap synthesize`, or a file of safety rows.
        curated: the replay set: a file of safety rows.
        reference: the data that the model was aligned on; without it, sets are only compared with themselves.
        embedder: embeds the texts; by default the packaged MiniLM.
        model: the aligned model, whose likelihoods of responses are reported; by default none.
        max_rows: greatest number of rows per side of a comparison; the paper uses 10,000.
        num_seeds: number of k-means runs of MAUVE.
        seed: seed of all random choices.
        views: texts that are compared: `query`, `response`, or `exchange`: all turns of a row as one text, which the
            paper calls the response.
    """

    raw: str | None = None
    curated: str | None = None
    reference: str | None = None
    embedder: Embedder | None = None
    model: Generator | None = None
    max_rows: int = 10_000
    num_seeds: int = 5
    seed: int = 0
    views: list[Literal["query", "response", "exchange"]] = field(default_factory=lambda: ["query", "response"])

    @cached_property
    def populations(self) -> dict[str, Population]:
        """The given sets, by name."""
        paths = {"raw": self.raw, "curated": self.curated, "reference": self.reference}
        return {name: read_population(name, path) for name, path in paths.items() if path is not None}

    @cached_property
    def chosen_embedder(self) -> Embedder:
        """The embedder of the settings, or the default."""
        return self.embedder or MiniLMEmbedder()

    @cached_property
    def num_compared(self) -> int:
        """Rows per side in all comparisons: the size of the smallest set, or `max_rows`. The reference, or without one
        each set, counts half, because its halves are compared with each other."""
        halved = ["reference"] if self.reference else list(self.populations)
        sizes = [len(each.records) // (2 if name in halved else 1) for name, each in self.populations.items()]
        return min(self.max_rows, *sizes)

    def check(self) -> None:
        """Check settings and files, without loading weights.

        Raises:
            UserError: names the wrong setting, file or row.
        """
        if self.raw is None and self.curated is None:
            raise ConfigError("neither raw nor curated is set", "Give at least one of them")
        for name, smallest in (("max_rows", MIN_ROWS), ("num_seeds", 1)):
            if getattr(self, name) < smallest:
                raise ConfigError(f"{name} is {getattr(self, name)}", f"Give at least {smallest}")
        if not self.views or len(set(self.views)) < len(self.views):
            raise ConfigError(f"views is {self.views}", "Give at least one view, and each once")
        if self.num_compared < MIN_ROWS:
            sizes = ", ".join(f"{name} {len(each.records)}" for name, each in self.populations.items())
            halved = "the reference" if self.reference else "each set"
            raise DataError(
                f"too few rows to compare ({sizes})",
                f"Give at least {MIN_ROWS} per set, and twice as many of {halved}, which is also compared with itself",
            )
        self.chosen_embedder.check()
        if self.model is not None:
            self.model.likelihoods(())  # raises if the backend does not support it
            _ = self.model.template

    def identities(self) -> dict[str, Any]:
        """Return the identities of embedder and model, as they are in `similarity.json`."""
        model = self.model
        return {
            "embedder": self.chosen_embedder.identity(),
            "model": None
            if model is None
            else {"name": model.model_name, "revision": model.weights_revision(), "identity": model.identity()},
        }
