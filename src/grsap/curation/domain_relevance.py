"""Drops queries that are not about their domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, keep, reject
from grsap.curation.ledger import Rows
from grsap.curation.work import Work
from grsap.embedding.base import Embeddings
from grsap.errors import ConfigError
from grsap.synthesis.domains import domains_hash, load_domains


class DomainRelevance(Filter):
    """Keeps rows whose query is similar to its domain's name or definition. Reason: `off_domain`.

    Cosines of different embedders are not comparable, so the manifest audits the threshold: it states the share of
    queries that pass against other domains, and how often a query's own domain is the closest of all.

    Args:
        min_cosine: least cosine of query and domain, in [-1, 1]; the paper's 0.5 is for its embedder.
        against: text of the domain that a query is compared with; the paper uses the name.
        domains: YAML file of domains, for definitions; by default the 38 of the paper. For a domain that is not in it
            the name is used.
    """

    def __init__(
        self,
        min_cosine: float = 0.5,
        against: Literal["name", "definition"] = "name",
        domains: str | None = None,
    ) -> None:
        self.min_cosine = min_cosine
        self.against = against
        self.domains = domains

    @property
    def needs(self) -> frozenset[str]:
        """The embedder."""
        return frozenset({"embedder"})

    def check(self, where: str) -> None:
        """Raise ConfigError for a cosine outside [-1, 1], DataError for a wrong file of domains."""
        if not -1 <= self.min_cosine <= 1:
            raise ConfigError(f"{where}: min_cosine is {self.min_cosine}", "Give a cosine in [-1, 1]")
        load_domains(self.domains)

    def settings(self) -> dict[str, Any]:
        """Return the settings with the definitions' hash."""
        return {**super().settings(), "domains_hash": domains_hash(load_domains(self.domains))}

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row."""
        names = work.raw.domains
        definitions = {domain.name: f"{domain.name}: {domain.definition}" for domain in load_domains(self.domains)}
        texts = names if self.against == "name" else [definitions.get(name, name) for name in names]
        cosines = _cosines(work.embeddings(rows), work.embedder.embed(texts))
        own = cosines[np.arange(len(rows)), work.raw.domain_of[rows.numbers]]
        work.audit |= self._audit(cosines, own)
        work.add_histogram("domain_cosine", own.tolist(), below=self.min_cosine)
        for cosine in own.tolist():
            score = round(cosine, 4)
            yield reject("off_domain", domain_cosine=score) if cosine < self.min_cosine else keep(domain_cosine=score)

    def _audit(self, cosines: NDArray[np.float64], own: NDArray[np.float64]) -> dict[str, Any]:
        num, num_domains = cosines.shape
        if not num:
            return {}
        num_others = num * (num_domains - 1)
        passes = int((cosines >= self.min_cosine).sum() - (own >= self.min_cosine).sum())
        return {
            "share_of_own_domain_that_passes": round(float((own >= self.min_cosine).mean()), 4),
            "share_of_other_domains_that_pass": round(passes / num_others, 4) if num_others else None,
            "share_with_own_domain_first": round(float((own >= cosines.max(axis=1)).mean()), 4),
            "own_quantiles": {
                str(share): round(float(np.quantile(own, share)), 4) for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
            },
        }


def _cosines(queries: Embeddings, domains: Embeddings) -> NDArray[np.float64]:
    """Return the cosines (M, K) of queries (M, D) and domains (K, D)."""
    if not len(queries):
        return np.zeros((0, len(domains)))
    return (queries @ domains.T).astype(np.float64)
