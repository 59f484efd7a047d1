"""Drops near-duplicate queries."""

from __future__ import annotations

from collections.abc import Iterator

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, keep
from grsap.curation.ledger import Rows
from grsap.curation.near_duplicates import find_near_duplicates
from grsap.curation.work import TextOf, Work
from grsap.errors import ConfigError
from grsap.progress import progress_line


class SemanticDeduplication(Filter):
    """Keeps the medoid of each cluster of near-duplicates, over all domains, independent of the order of the rows.

    By exact cosine; see `grsap.curation.near_duplicates`. Reason: `near_duplicate`, with the id of the row kept for it.

    Args:
        max_cosine: greatest cosine, in (0, 1], of two rows that are both kept; the paper's 0.85 is for its embedder.
        of: text that is compared.
    """

    def __init__(self, max_cosine: float = 0.85, of: TextOf = "query") -> None:
        self.max_cosine = max_cosine
        self.of = of

    @property
    def needs(self) -> frozenset[str]:
        """The embedder."""
        return frozenset({"embedder"})

    def check(self, where: str) -> None:
        """Raise ConfigError for a cosine outside (0, 1]."""
        if not 0 < self.max_cosine <= 1:
            raise ConfigError(f"{where}: max_cosine is {self.max_cosine}", "Give a cosine in (0, 1]")

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row."""
        vectors = work.embeddings(rows, self.of)
        with progress_line("Comparing rows", len(rows)) as advance:
            found = find_near_duplicates(vectors, self.max_cosine, advance)
        work.add_histogram("nearest_cosine", found.nearest.tolist(), above=self.max_cosine)
        ids = rows.ids
        for place, (kept, cosine, nearest) in enumerate(
            zip(found.kept_for.tolist(), found.cosine.tolist(), found.nearest.tolist(), strict=True)
        ):
            scores = {"nearest_cosine": round(nearest, 4)}
            if kept == place:
                yield keep(**scores)
            else:
                scores["duplicate_cosine"] = round(cosine, 4)
                yield Decision(False, "near_duplicate", scores, related_id=ids[kept])
