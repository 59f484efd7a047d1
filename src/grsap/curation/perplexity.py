"""Drops the texts with the lowest and the highest perplexity under a language model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, keep, reject
from grsap.curation.histogram import significant
from grsap.curation.ledger import Rows
from grsap.curation.work import TextOf, Work, text_of
from grsap.errors import ConfigError
from grsap.generation import Generator, ScoringRequest
from grsap.records import SafetyRecord

ROWS_A_PIECE = 64
"""Rows that are scored together. Not a setting, because the last digits of scores may depend on it."""

MAX_TOKENS = 1024
"""Tokens of a text that are scored; the rest is ignored."""


class Perplexity(Filter):
    """Drops a share of the rows with the lowest and the highest perplexity, per domain or over all rows.

    Perplexity is exp of the mean negative log-likelihood of a text's tokens after the first (all of them if the
    tokenizer adds a token in front), to 6 digits. Bounds are quantiles, with linear interpolation; rows on a bound
    are kept. Reasons: `perplexity_too_low`, `perplexity_too_high`, `no_perplexity` (a text of one token).

    Args:
        model: the scoring model; any causal language model that runs on this machine.
        low: share of rows to drop at the low end, in [0, 1).
        high: share of rows to drop at the high end, in [0, 1); low + high is below 1.
        per: `domain`, so that no domain is dropped for its vocabulary, or `global`, as in the paper.
        of: text that is scored.
        min_rows: domains with fewer rows use the bounds of all rows.
    """

    def __init__(
        self,
        model: Generator,
        low: float = 0.05,
        high: float = 0.05,
        per: Literal["domain", "global"] = "domain",
        of: TextOf = "query",
        min_rows: int = 40,
    ) -> None:
        self.model = model
        self.low = low
        self.high = high
        self.per = per
        self.of = of
        self.min_rows = min_rows

    def check(self, where: str) -> None:
        """Raise ConfigError for shares that would drop all rows."""
        if min(self.low, self.high) < 0 or self.low + self.high >= 1:
            raise ConfigError(f"{where}: low is {self.low} and high is {self.high}", "Give shares that sum to under 1")
        if self.min_rows < 1:
            raise ConfigError(f"{where}: min_rows is {self.min_rows}", "Give at least 1")

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row, after scoring all rows."""
        scores = self._scores(rows, work)
        known = ~np.isnan(scores)
        domains = np.array(rows.domains, object)
        overall = self._bounds(scores[known])
        bounds: dict[str, tuple[float, float]] = {}
        for domain in sorted(set(domains)) if self.per == "domain" else []:
            mine = scores[known & (domains == domain)]
            if len(mine) >= self.min_rows:
                bounds[domain] = self._bounds(mine)
        work.audit["bounds"] = {"all": overall, **bounds}
        cuts = {"below": overall[0], "above": overall[1]} if known.any() else {}
        work.add_histogram("perplexity", scores[known].tolist(), log=True, **cuts)
        self.model.close()
        for score, domain in zip(scores.tolist(), domains, strict=True):
            below, above = bounds.get(domain, overall)
            if math.isnan(score):
                yield reject("no_perplexity")
            elif score < below or score > above:
                yield reject(f"perplexity_too_{'low' if score < below else 'high'}", perplexity=score)
            else:
                yield keep(perplexity=score)

    def _bounds(self, scores: NDArray[np.float64]) -> tuple[float, float]:
        if not len(scores):
            return 0.0, 0.0
        low, high = np.quantile(scores, [self.low, 1 - self.high])
        return float(low), float(high)

    def _scores(self, rows: Rows, work: Work) -> NDArray[np.float64]:
        """Return the perplexities (M,); NaN for a text without one."""
        column = np.full(len(work.raw), np.nan)
        identity = {"model": self.model.content_identity(), "of": self.of}

        def compute(piece: Sequence[SafetyRecord]) -> list[float | None]:
            return perplexities([text_of(row, self.of) for row in piece], self.model)

        for numbers, values in work.kept(f"perplexity_of_{self.of}", identity, rows, compute, ROWS_A_PIECE):
            column[numbers] = [math.nan if value is None else value for value in values]
        return column[rows.numbers]


def perplexities(texts: Sequence[str], model: Generator) -> list[float | None]:
    """Return the perplexity of each text, to 6 digits and at most 1e30; None for a text of a single token."""
    requests = []
    for number, text in enumerate(texts):
        ids = tuple(model.tokenizer(text)["input_ids"][:MAX_TOKENS])
        if len(ids) > 1:
            requests.append(ScoringRequest(str(number), ids[:1], ids[1:]))
    found: list[float | None] = [None] * len(texts)
    for likelihood in model.checked_likelihoods(requests):
        mean = -likelihood.total / len(likelihood.logprobs)
        found[int(likelihood.id)] = significant(math.exp(min(mean, 69.0)))
    return found
