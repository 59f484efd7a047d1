"""Multiple choice by likelihood: the answer is the label with the highest log-likelihood."""

from __future__ import annotations

from collections.abc import Generator as Generating
from collections.abc import Mapping, Sequence
from pathlib import Path

from grsap.errors import DataError
from grsap.evaluation.prompts import Prompt, Question
from grsap.evaluation.result_logs import ResultLogs
from grsap.evaluation.subjects import Subject
from grsap.generation import Generator, ScoringRequest, score_in_pieces
from grsap.metrics.sampled import Outcome
from grsap.result_log import Entry

LIKELIHOOD_SCHEMA = "grsap.likelihood/1"
LIKELIHOODS_DIR = "likelihoods"


class LabelLikelihoods(ResultLogs):
    """Computes missing log-likelihoods of labels at the beginning of the answer, and scores subjects by them.

    Args:
        folder: of the evaluation.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / LIKELIHOODS_DIR, LIKELIHOOD_SCHEMA, ("prompt", "label"))

    def compute(self, subject: Subject, prompts: Sequence[Prompt]) -> None:
        """Compute missing log-likelihoods. Each piece is on disk before the next begins."""
        log = self.named(subject.hash)
        requests = {
            f"{prompt.hash}/{number}": (prompt, label)
            for prompt in prompts
            for number, label in enumerate(prompt.item.labels)
        }
        known = {name for name, (prompt, label) in requests.items() if (prompt.hash, label) in log}

        def pieces() -> Generating[list[Entry], None, None]:
            asked = [
                ScoringRequest(name, prompt.ids, label_ids(prompt, label, subject.generator))
                for name, (prompt, label) in requests.items()
            ]
            for piece in score_in_pieces(subject.likelihoods, asked, known):
                scored = [(*requests[found.id], found.total) for found in piece]
                yield [{"prompt": each.hash, "label": label, "logprob": total} for each, label, total in scored]

        title = f"Likelihoods of {subject.name}"
        self.add_all(log, subject.name, title, len(requests) - len(known), pieces())

    def scores(self, subject: Subject, question: Question, prompts: Sequence[Prompt]) -> dict[str, list[Outcome]]:
        """Return by item id whether the most likely label is right; None if several are equally likely.

        Ties occur in bf16; taking the first label would bias scores towards it.

        Raises:
            DataError: likelihoods are missing.
        """
        log = self.named(subject.hash)
        scores: dict[str, list[Outcome]] = {}
        for prompt in prompts:
            found = {label: log.get(prompt.hash, label) for label in prompt.item.labels}
            known = {label: entry["logprob"] for label, entry in found.items() if entry is not None}
            if len(known) < len(found):
                raise DataError(
                    f"{subject.name} has not scored all choices of {question.benchmark.name}",
                    "Run the stage generate first",
                )
            best = most_likely(known)
            scores[prompt.item.id] = [None if best is None else best == prompt.item.reference]
        return scores


def label_ids(prompt: Prompt, label: str, generator: Generator) -> tuple[int, ...]:
    """Return the token ids of a label at the beginning of the answer, in the chat template.

    Raises:
        DataError: the template gives it no token of its own.
    """
    ids = tuple(generator.template.prompt_ids(prompt.item.messages, prefill=label))
    if ids[: len(prompt.ids)] != prompt.ids or len(ids) == len(prompt.ids):
        raise DataError(f"item {prompt.item.id}: the label {label!r} has no token of its own", "Set other labels")
    return ids[len(prompt.ids) :]


def most_likely(logprobs: Mapping[str, float]) -> str | None:
    """Return the label with the highest log-probability; None if several share it."""
    best = max(logprobs.values())
    labels = [label for label, value in logprobs.items() if value == best]
    return labels[0] if len(labels) == 1 else None
