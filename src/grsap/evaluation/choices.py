"""Multiple choice by likelihood: the answer is the label that the model finds the most likely."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grsap.errors import DataError
from grsap.evaluation.journal import Journal
from grsap.evaluation.prompts import Prompt, Question
from grsap.evaluation.subjects import Subject
from grsap.evaluation.work import Work
from grsap.generation import Generator, ScoringRequest, score_in_pieces
from grsap.metrics.sampled import Outcome
from grsap.progress import progress_line

LIKELIHOOD_SCHEMA = "grsap.likelihood/1"
LIKELIHOODS_DIR = "likelihoods"


@dataclass
class Weighing:
    """Has subjects tell how likely they find each label as the beginning of their answer, and finds what they told.

    Args:
        folder: of the evaluation.
    """

    folder: Path
    work: dict[str, Work] = field(default_factory=dict)
    _journals: dict[str, Journal] = field(default_factory=dict)

    def journal(self, subject: Subject) -> Journal:
        """Where a subject's likelihoods are kept."""
        if subject.hash not in self._journals:
            path = self.folder / LIKELIHOODS_DIR / f"{subject.hash}.jsonl"
            self._journals[subject.hash] = Journal(path, LIKELIHOOD_SCHEMA, ("prompt", "label"))
        return self._journals[subject.hash]

    def weigh_all(self, subject: Subject, prompts: Sequence[Prompt]) -> None:
        """Ask for what is missing. Each piece of likelihoods is on disk before the next is begun."""
        journal = self.journal(subject)
        requests = {
            f"{prompt.hash}/{number}": (prompt, label)
            for prompt in prompts
            for number, label in enumerate(prompt.item.labels)
        }
        known = {name for name, (prompt, label) in requests.items() if (prompt.hash, label) in journal.entries}
        if len(known) == len(requests):
            return
        asked = [
            ScoringRequest(name, prompt.ids, label_ids(prompt, label, subject.generator))
            for name, (prompt, label) in requests.items()
        ]
        started = time.monotonic()
        work = self.work.setdefault(subject.name, Work())
        try:
            with progress_line(f"Likelihoods of {subject.name}", len(asked) - len(known)) as advance:
                for piece in score_in_pieces(subject.likelihoods, asked, known):
                    told = [(*requests[found.id], found.total) for found in piece]
                    journal.add(
                        [{"prompt": each.hash, "label": label, "logprob": total} for each, label, total in told]
                    )
                    advance(len(piece))
                    work.num_done += len(piece)
        finally:
            work.seconds += time.monotonic() - started

    def marks(self, subject: Subject, question: Question, prompts: Sequence[Prompt]) -> dict[str, list[Outcome]]:
        """By item id, whether the most likely label is the right one; None if several are equally likely.

        In bf16 that happens: the first label is not to win by its place.

        Raises:
            DataError: likelihoods are missing.
        """
        entries = self.journal(subject).entries
        marks: dict[str, list[Outcome]] = {}
        for prompt in prompts:
            found = {label: entries.get((prompt.hash, label)) for label in prompt.item.labels}
            known = {label: entry["logprob"] for label, entry in found.items() if entry is not None}
            if len(known) < len(found):
                raise DataError(
                    f"{subject.name} has not weighed all choices of {question.benchmark.name}",
                    "Run the stage generate first",
                )
            best = most_likely(known)
            marks[prompt.item.id] = [None if best is None else best == prompt.item.reference]
        return marks

    def close(self) -> None:
        """Let go of all files."""
        for journal in self._journals.values():
            journal.close()


def label_ids(prompt: Prompt, label: str, generator: Generator) -> tuple[int, ...]:
    """The tokens of a label as the beginning of the answer, as the chat template has them.

    Raises:
        DataError: the template gives it no token of its own.
    """
    ids = tuple(generator.template.prompt_ids(prompt.item.messages, prefill=label))
    if ids[: len(prompt.ids)] != prompt.ids or len(ids) == len(prompt.ids):
        raise DataError(f"item {prompt.item.id}: the label {label!r} has no token of its own", "Set other labels")
    return ids[len(prompt.ids) :]


def most_likely(logprobs: Mapping[str, float]) -> str | None:
    """The label of the greatest log-probability; None if several share it."""
    best = max(logprobs.values())
    labels = [label for label, value in logprobs.items() if value == best]
    return labels[0] if len(labels) == 1 else None
