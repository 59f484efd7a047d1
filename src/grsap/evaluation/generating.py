"""The first stage: each subject answers each prompt, once, however often the command is killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grsap.errors import DataError
from grsap.evaluation.journal import Journal
from grsap.evaluation.prompts import Prompt, Question, prompts_of, request_seed, sampling_hash
from grsap.evaluation.subjects import Subject
from grsap.evaluation.work import Work
from grsap.files import hash_json
from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.progress import Advance, progress_line
from grsap.records import Message

ANSWER_SCHEMA = "grsap.answer/1"
ANSWERS_DIR = "answers"


@dataclass(frozen=True)
class Answer:
    """What a subject wrote.

    Attributes:
        messages: that it was asked.
        response: its text.
        finish_reason: `stop`, `length`, or `withheld`: a server gave no answer.
        num_prompt_tokens, num_tokens: of the prompt, and written.
        withheld_because: why, as the server says.
    """

    messages: list[Message]
    response: str
    finish_reason: str
    num_prompt_tokens: int
    num_tokens: int
    withheld_because: str = ""

    @property
    def is_withheld(self) -> bool:
        """Whether there is none: it counts as unanswered in every measure."""
        return self.finish_reason == "withheld"


@dataclass
class Answering:
    """Has subjects answer, and finds their answers.

    Args:
        folder: of the evaluation.
        questions: all benchmarks.
        num_samples: answers a prompt.
        seed: of sampling.
    """

    folder: Path
    questions: Sequence[Question]
    num_samples: int
    seed: int
    work: dict[str, Work] = field(default_factory=dict)
    _journals: dict[str, Journal] = field(default_factory=dict)
    _prompts: dict[tuple[int, str], list[Prompt]] = field(default_factory=dict)

    def journal(self, subject: Subject, sampling: SamplingSettings) -> Journal:
        """Where the answers of a subject are kept."""
        name = hash_json([subject.hash, sampling_hash(sampling, self.seed)])
        if name not in self._journals:
            path = self.folder / ANSWERS_DIR / f"{name}.jsonl"
            self._journals[name] = Journal(path, ANSWER_SCHEMA, ("prompt", "sample"))
        return self._journals[name]

    def prompts(self, question: Question, generator: Generator) -> list[Prompt]:
        """The prompts of a benchmark for a backend; made once."""
        key = (id(generator), question.benchmark.name)
        if key not in self._prompts:
            self._prompts[key] = prompts_of(question, generator)
        return self._prompts[key]

    def num_missing(self, subject: Subject) -> int:
        """Answers that are still to be given."""
        return sum(len(requests) for _, requests, _ in self._missing(subject))

    def answer_all(self, subject: Subject) -> None:
        """Have a subject answer what it has not answered yet. Each answer is on disk before the next is taken."""
        missing = self._missing(subject)
        total = sum(len(requests) for _, requests, _ in missing)
        if not total:
            return
        started = time.monotonic()
        work = self.work.setdefault(subject.name, Work())
        try:
            with progress_line(f"Answers of {subject.name}", total) as advance:
                for sampling, requests, messages in missing:
                    self._ask(subject, sampling, requests, messages, advance, work)
        finally:
            work.seconds += time.monotonic() - started

    def answers(self, subject: Subject, question: Question) -> dict[str, list[Answer]]:
        """By item id, one a sample.

        Raises:
            DataError: some are not there yet.
        """
        entries = self.journal(subject, question.sampling).entries
        found: dict[str, list[Answer]] = {}
        for prompt in self.prompts(question, subject.generator):
            for sample in range(self.num_samples):
                entry = entries.get((prompt.hash, sample))
                if entry is None:
                    raise DataError(
                        f"{subject.name} has not answered all prompts of {question.benchmark.name}",
                        "Run the stage generate first",
                    )
                found.setdefault(prompt.item.id, []).append(_read(entry))
        return found

    def close(self) -> None:
        """Let go of all files."""
        for journal in self._journals.values():
            journal.close()

    def _ask(
        self,
        subject: Subject,
        sampling: SamplingSettings,
        requests: Sequence[GenerationRequest],
        messages: dict[str, list[Message]],
        advance: Advance,
        work: Work,
    ) -> None:
        journal = self.journal(subject, sampling)
        lengths = {request.id: len(request.prompt_ids) for request in requests}
        with closing(subject.stream(requests, sampling)) as answers:  # type: ignore[type-var]
            for answer in answers:
                journal.add([_entry(answer, messages[answer.id], lengths[answer.id])])
                advance(1, len(answer.token_ids))
                work.num_done += 1
                work.num_tokens += len(answer.token_ids)

    def _missing(
        self, subject: Subject
    ) -> list[tuple[SamplingSettings, list[GenerationRequest], dict[str, list[Message]]]]:
        """By sampling: requests without an answer, and what they ask. A prompt of two benchmarks is asked once."""
        found: dict[SamplingSettings, tuple[list[GenerationRequest], dict[str, list[Message]]]] = {}
        for question in self.questions:
            entries = self.journal(subject, question.sampling).entries
            requests, messages = found.setdefault(question.sampling, ([], {}))
            for prompt in self.prompts(question, subject.generator):
                for sample in range(self.num_samples):
                    name = f"{prompt.hash}/{sample}"
                    if (prompt.hash, sample) not in entries and name not in messages:
                        seed = request_seed(self.seed, prompt.hash, sample)
                        requests.append(GenerationRequest(name, prompt.ids, seed))
                        messages[name] = prompt.item.messages
        return [(sampling, requests, messages) for sampling, (requests, messages) in found.items() if requests]


def _entry(answer: Generation, messages: list[Message], num_prompt_tokens: int) -> dict[str, Any]:
    prompt, _, sample = answer.id.rpartition("/")
    return {
        "prompt": prompt,
        "sample": int(sample),
        "messages": messages,
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "num_prompt_tokens": num_prompt_tokens,
        "num_tokens": len(answer.token_ids),
        **({"withheld_because": answer.withheld_because} if answer.finish_reason == "withheld" else {}),
    }


def _read(entry: dict[str, Any]) -> Answer:
    return Answer(
        messages=entry["messages"],
        response=entry["response"],
        finish_reason=entry["finish_reason"],
        num_prompt_tokens=entry["num_prompt_tokens"],
        num_tokens=entry["num_tokens"],
        withheld_because=entry.get("withheld_because", ""),
    )
