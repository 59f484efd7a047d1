"""Answers that a sound model finds hard to believe: perplexity under a model that is not evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grsap.errors import ConfigError, DataError
from grsap.evaluation.generating import Answer
from grsap.evaluation.journal import Journal
from grsap.evaluation.verdicts import exchange_hash
from grsap.files import hash_json
from grsap.generation import Generator, Likelihood, ScoringRequest, score_in_pieces
from grsap.progress import progress_line

SURPRISE_SCHEMA = "grsap.surprise/1"
SURPRISES_DIR = "perplexities"


@dataclass(frozen=True)
class Surprise:
    """Counts answers of too high a perplexity as incoherent.

    Perplexity is exp of the mean negative log-likelihood of an answer's tokens, given the prompt in the model's chat
    template. An answer without a token has none.

    Args:
        model: what scores: the base that was aligned, or another sound model that runs on this machine.
        max_perplexity: above it, an answer is no answer. Look at what the start's own answers have before choosing.
    """

    model: Generator
    max_perplexity: float = 500.0

    def check(self) -> None:
        """Raise ConfigError for a bound that is out of range, or a model that cannot score."""
        if not self.max_perplexity > 1:
            raise ConfigError(f"max_perplexity is {self.max_perplexity}", "Give a number above 1", part=self)
        if type(self.model).likelihoods is Generator.likelihoods:
            raise ConfigError(
                f"model is a {type(self.model).__name__}, which cannot score texts",
                "Use TransformersGenerator",
                part=self,
            )

    def journal(self, folder: Path) -> Journal:
        """Where the perplexities are kept: by all that decides them."""
        key = hash_json([self.model.content_identity(), self.model.template.hash])
        return Journal(folder / SURPRISES_DIR / f"{key}.jsonl", SURPRISE_SCHEMA, ("exchange",))

    def measure_all(self, answers: Iterable[Answer], folder: Path) -> None:
        """Score what is not scored yet. Each piece of perplexities is on disk before the next is begun."""
        journal = self.journal(folder)
        tokenizer, template = self.model.tokenizer, self.model.template
        requests: dict[str, ScoringRequest] = {}
        for answer in answers:
            if answer.is_withheld:
                continue
            name = exchange_hash(answer)
            ids = tuple(tokenizer(answer.response, add_special_tokens=False)["input_ids"])
            if ids and name not in requests:
                requests[name] = ScoringRequest(name, tuple(template.prompt_ids(answer.messages)), ids)
        known = {name for name in requests if (name,) in journal.entries}
        if len(known) == len(requests):
            return
        try:
            with progress_line("Perplexities", len(requests) - len(known)) as advance:
                for piece in score_in_pieces(self.model.checked_likelihoods, requests.values(), known):
                    journal.add([{"exchange": each.id, "perplexity": _perplexity(each)} for each in piece])
                    advance(len(piece))
        finally:
            journal.close()
            self.model.close()

    def surprising(self, answers: Mapping[str, Sequence[Answer]], folder: Path) -> dict[str, list[bool]]:
        """By item id and sample, whether an answer's perplexity is above the bound.

        Raises:
            DataError: some are not scored yet.
        """
        entries = self.journal(folder).entries
        found: dict[str, list[bool]] = {}
        for item, samples in answers.items():
            for answer in samples:
                entry = entries.get((exchange_hash(answer),))
                if entry is None and answer.response and not answer.is_withheld:
                    raise DataError("not all answers have a perplexity", "Run the stage judge first")
                is_above = entry is not None and entry["perplexity"] > self.max_perplexity
                found.setdefault(item, []).append(is_above)
        return found


def _perplexity(found: Likelihood) -> float:
    nats = -found.total / len(found.logprobs)
    return round(math.exp(min(nats, 700.0)), 4)
