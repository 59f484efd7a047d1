"""Settings of a synthesis: an aligned model writes queries and answers them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from grsap.errors import ConfigError
from grsap.generation.base import Generator, SamplingSettings
from grsap.synthesis.domains import Domain, load_domains
from grsap.synthesis.elicitation import Ask, AssistantPrefill, Elicitation, Kind
from grsap.synthesis.quota import Quota, SurvivalRule

QUERY_SAMPLING = SamplingSettings(max_new_tokens=256, temperature=1.0)
RESPONSE_SAMPLING = SamplingSettings(max_new_tokens=1024, temperature=0.8, top_p=0.95)
"""The sampling settings of the paper."""


@dataclass(frozen=True)
class Synthesis:
    """Generate safety queries with an aligned model, and its responses to them.

    Args:
        generator: the model and its backend.
        quota: number of rows, and budget.
        elicitation: how the model is made to write queries; by default `AssistantPrefill`.
        domains: YAML file of `{name, definition, group}`; by default the 38 of the paper.
        domain_names: names of the domains to use; by default all.
        query_sampling: sampling of queries.
        response_sampling: sampling of responses; with `top_logprobs` their log-probabilities are stored too.
        survival: which rows `quota.until_kept` counts; by default `CompleteAndDistinct`.
        seed: seed of the ids and of all sampling.
        rows_per_shard: greatest number of rows of a file.
    """

    generator: Generator
    quota: Quota
    elicitation: Elicitation | None = None
    domains: str | None = None
    domain_names: list[str] | None = None
    query_sampling: SamplingSettings = QUERY_SAMPLING
    response_sampling: SamplingSettings = RESPONSE_SAMPLING
    survival: SurvivalRule | None = None
    seed: int = 0
    rows_per_shard: int = 5000

    @cached_property
    def chosen_domains(self) -> list[Domain]:
        """The domains that queries are written about."""
        return load_domains(self.domains, self.domain_names)

    def check(self) -> None:
        """Check settings, domains and template, without loading weights.

        Raises:
            UserError: names the wrong setting.
        """
        self.quota.check()
        self.query_sampling.check()
        self.response_sampling.check()
        if self.query_sampling.top_logprobs is not None:
            raise ConfigError(
                "query_sampling.top_logprobs is set, but log-probabilities are stored for responses only",
                "Set response_sampling.top_logprobs",
            )
        if self.query_sampling.temperature == 0:
            raise ConfigError(
                "query_sampling.temperature is 0, so all queries of a domain would be the same",
                "Give more than 0; the paper uses 1.0",
            )
        if self.rows_per_shard < 1:
            raise ConfigError(f"rows_per_shard is {self.rows_per_shard}", "Give at least 1")
        kinds: tuple[Kind, ...] = ("harmful", "benign") if self.quota.benign_share else ("harmful",)
        elicitation = self.elicitation or AssistantPrefill()
        for domain in self.chosen_domains:
            for kind in kinds:
                ids = elicitation.checked_prompt_ids(Ask(domain, kind), self.generator.template)
                new = self.query_sampling.max_new_tokens
                self.generator.check_prompt(ids, f"the prompt of domain {domain.name}", new)
