"""An aligned model writes queries and answers them: the settings, and the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grsap.console import Console
from grsap.errors import ConfigError
from grsap.generation.base import Generator, SamplingSettings
from grsap.progress import progress_line
from grsap.synthesis.domains import Domain, load_domains
from grsap.synthesis.elicitation import Ask, AssistantPrefill, Elicitation, Kind
from grsap.synthesis.ledger import Ledger
from grsap.synthesis.quota import CompleteAndDistinct, Quota, SurvivalRule
from grsap.synthesis.raw_folder import RawFolder
from grsap.synthesis.report import Report, print_report
from grsap.synthesis.slots import Slot, slots_of
from grsap.synthesis.writing import Writer

QUERY_SAMPLING = SamplingSettings(max_new_tokens=256, temperature=1.0)
RESPONSE_SAMPLING = SamplingSettings(max_new_tokens=1024, temperature=0.8, top_p=0.95)
"""The paper's."""


@dataclass(frozen=True)
class Synthesis:
    """Has an aligned model write safety queries of its own, and answer them.

    Args:
        generator: the model, and where it runs.
        quota: how many rows.
        elicitation: how it is brought to write queries; by default `AssistantPrefill`.
        domains: YAML file of `{name, definition, group}`; by default the 38 of the paper.
        domain_names: the domains wanted, by name; by default all.
        query_sampling: how queries are written.
        response_sampling: how responses are written; with `top_logprobs` their log-probabilities are kept too.
        survival: which rows `quota.until_kept` counts; by default `CompleteAndDistinct`.
        seed: of all that is random.
        rows_per_shard: rows of a file.
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
        """The domains wanted."""
        return load_domains(self.domains, self.domain_names)

    def check(self) -> None:
        """Find what is wrong with settings, domains and template; loads no weights.

        Raises:
            UserError: names the setting.
        """
        self.quota.check()
        self.query_sampling.check("query_sampling")
        self.response_sampling.check("response_sampling")
        if self.query_sampling.top_logprobs is not None:
            raise ConfigError(
                "query_sampling.top_logprobs is set, but log-probabilities are kept of responses only",
                "Set response_sampling.top_logprobs",
            )
        if self.query_sampling.temperature == 0:
            raise ConfigError(
                "query_sampling.temperature is 0, so that all queries of a domain would be the same",
                "Give more than 0; the paper has 1.0",
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

    def run(self, output_dir: Path) -> None:
        """Write what is missing in a folder, and print what there is.

        Raises:
            UserError: the folder's files are broken, of another model or cannot be written, or nothing usable came.
        """
        output_dir.mkdir(parents=True, exist_ok=True)
        folder = RawFolder(output_dir, self.rows_per_shard, self.response_sampling.top_logprobs is not None)
        for repair in folder.repairs:
            Console(stderr=True).print_line(repair)
        try:
            ledger = Ledger.read(folder, keep_rows=self.quota.until_kept is not None)
            report = Report(self, folder, ledger)
            report.check_same()
            try:
                report.write("running")
                status = self._work(folder, ledger, report)
            except BaseException:
                report.write_quietly("unfinished")
                raise
            finally:
                self.generator.close()
            report.write(status, with_files=True)
        finally:
            folder.close()
        print_report(report)
        report.check_not_empty()

    def _work(self, folder: RawFolder, ledger: Ledger, report: Report) -> str:
        """Wave after wave, until the quota is met or the budget is spent; says which."""
        survival = self.survival or CompleteAndDistinct()
        begun = dict.fromkeys(self.chosen_domains, 0)
        num_tokens = 0
        with progress_line("Queries and answers", self._num_missing(ledger)) as advance:
            writer = Writer(self, folder, ledger, advance, self._deadline(report))
            while True:
                wave: list[Slot] = []
                for domain, start in begun.items():
                    kept = survival.checked_survivors(ledger.rows_before(domain.name, start))
                    stop = self.quota.next_stop(start, len(kept), len(begun))
                    wave += slots_of(domain, start, stop, self.quota.benign_share)
                    begun[domain] = stop
                if not wave:
                    return "complete"
                if self.quota.max_tokens is not None and num_tokens >= self.quota.max_tokens:
                    return "budget_spent"
                if not writer.fill(wave):
                    return "budget_spent"
                num_tokens += sum(ledger.num_tokens[slot.id(self.seed)] for slot in wave)
                report.write("running")

    def _num_missing(self, ledger: Ledger) -> int | None:
        """Queries and answers that are still to come; None where the quota does not tell."""
        num = self.quota.num_per_domain
        if num is None:
            return None
        slots = [slot for each in self.chosen_domains for slot in slots_of(each, 0, num, self.quota.benign_share)]
        ids = [slot.id(self.seed) for slot in slots]
        return sum(0 if ledger.is_answered(each) else 2 - (ledger.query(each) is not None) for each in ids)

    def _deadline(self, report: Report) -> Callable[[], bool]:
        """Whether the time is over."""
        limit = self.quota.max_seconds
        return (lambda: False) if limit is None else (lambda: report.seconds >= limit)
