"""Flags answers with high perplexity under a reference model, which is not evaluated itself."""

from __future__ import annotations

import math
from collections.abc import Generator as Generating
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grsap.errors import ConfigError, DataError
from grsap.evaluation.generating import Answer
from grsap.evaluation.result_logs import ResultLogs
from grsap.evaluation.verdicts import exchange_hash
from grsap.files import hash_json
from grsap.generation import Generator, Likelihood, ScoringRequest, score_in_pieces
from grsap.result_log import Entry, ResultLog

PERPLEXITY_SCHEMA = "grsap.surprise/1"
PERPLEXITIES_DIR = "perplexities"


@dataclass(frozen=True)
class PerplexityCheck:
    """Counts answers with too high a perplexity as incoherent.

    Perplexity is exp of the mean negative log-likelihood of an answer's tokens, given the prompt in the model's chat
    template. An answer without tokens has no perplexity.

    Args:
        model: reference model: the base that was aligned, or another sound model that runs on this machine.
        max_perplexity: above it, an answer is incoherent. Look at the perplexities of the baseline's answers first.
    """

    model: Generator
    max_perplexity: float = 500.0

    def check(self) -> None:
        """Raise ConfigError for a bound that is out of range, or a model without log-likelihoods."""
        if not self.max_perplexity > 1:
            raise ConfigError(f"max_perplexity is {self.max_perplexity}", "Give a number above 1", part=self)
        if type(self.model).likelihoods is Generator.likelihoods:
            raise ConfigError(
                f"model is a {type(self.model).__name__}, which cannot score texts",
                "Use TransformersGenerator",
                part=self,
            )


class Perplexities(ResultLogs):
    """Computes missing perplexities of answers under the reference model, and reads them.

    Args:
        folder: of the evaluation.
        check: its settings.
    """

    def __init__(self, folder: Path, check: PerplexityCheck) -> None:
        super().__init__(folder / PERPLEXITIES_DIR, PERPLEXITY_SCHEMA, ("exchange",))
        self.model = check.model
        self.max_perplexity = check.max_perplexity

    @cached_property
    def log(self) -> ResultLog:
        """The log of perplexities, named by everything that determines them."""
        return self.named(hash_json([self.model.content_identity(), self.model.template.hash]))

    def compute(self, answers: Iterable[Answer]) -> None:
        """Compute missing perplexities. Each piece is on disk before the next begins."""
        exchanges = {exchange_hash(answer): answer for answer in answers if answer.response and not answer.is_withheld}
        if all((name,) in self.log for name in exchanges):
            return
        template = self.model.template
        requests: dict[str, ScoringRequest] = {}
        for name, answer in exchanges.items():
            if ids := self._token_ids(answer):
                requests[name] = ScoringRequest(name, tuple(template.prompt_ids(answer.messages)), ids)
        known = {name for name in requests if (name,) in self.log}

        def pieces() -> Generating[list[Entry], None, None]:
            with closing(self.model):
                for piece in score_in_pieces(self.model.checked_likelihoods, requests.values(), known):
                    yield [{"exchange": each.id, "perplexity": _perplexity(each)} for each in piece]

        self.add_all(self.log, self.model.model_name, "Perplexities", len(requests) - len(known), pieces())

    def surprising(self, answers: Mapping[str, Sequence[Answer]]) -> dict[str, list[bool]]:
        """Return by item id and sample whether an answer's perplexity is above the bound.

        Raises:
            DataError: perplexities are missing.
        """
        found: dict[str, list[bool]] = {}
        for item, samples in answers.items():
            for answer in samples:
                entry = self.log.get(exchange_hash(answer))
                if entry is None and not answer.is_withheld and self._token_ids(answer):
                    raise DataError("not all answers have a perplexity", "Run the stage judge first")
                is_above = entry is not None and entry["perplexity"] > self.max_perplexity
                found.setdefault(item, []).append(is_above)
        return found

    def _token_ids(self, answer: Answer) -> tuple[int, ...]:
        """Return the tokens that are scored; some tokenizers give none for a text of invisible characters."""
        return tuple(self.model.tokenizer(answer.response, add_special_tokens=False)["input_ids"])


def _perplexity(found: Likelihood) -> float:
    nats = -found.total / len(found.logprobs)
    return round(math.exp(min(nats, 700.0)), 4)
