"""The generate stage: each subject answers each prompt once; a killed command resumes without repeating answers."""

from __future__ import annotations

from collections.abc import Generator as Generating
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grsap.errors import DataError
from grsap.evaluation.prompts import Prompt, Question, prompts_of, request_seed, sampling_hash
from grsap.evaluation.result_logs import ResultLogs
from grsap.evaluation.subjects import Subject
from grsap.files import hash_json
from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.measurement.responses import Response, read_response, stored_response
from grsap.records import Message
from grsap.result_log import Entry, ResultLog
from grsap.text.thought_tokens import ends_in_thought

ANSWER_SCHEMA = "grsap.answer/1"
ANSWERS_DIR = "answers"
_Request = tuple[GenerationRequest, list[Message]]
"""A request and the conversation that it continues."""


@dataclass(frozen=True)
class Answer(Response):
    """The response of a subject.

    Attributes:
        messages: the conversation that it continues.
        num_prompt_tokens, num_tokens: number of prompt tokens and of generated tokens.
        withheld_because: the server's reason; empty if it gave an answer.
    """

    messages: list[Message]
    num_prompt_tokens: int
    num_tokens: int
    withheld_because: str = ""


class Answers(ResultLogs):
    """Generates missing answers of all subjects, and reads them.

    Args:
        folder: of the evaluation.
        questions: all benchmarks.
        num_samples: answers per prompt.
        seed: of sampling.
    """

    def __init__(self, folder: Path, questions: Sequence[Question], num_samples: int, seed: int) -> None:
        super().__init__(folder / ANSWERS_DIR, ANSWER_SCHEMA, ("prompt", "sample"))
        self.questions = questions
        self.num_samples = num_samples
        self.seed = seed
        self._prompts: dict[tuple[int, str], list[Prompt]] = {}

    def log(self, subject: Subject, sampling: SamplingSettings) -> ResultLog:
        """Return the log of a subject's answers."""
        return self.named(hash_json([subject.hash, sampling_hash(sampling, self.seed)]))

    def prompts(self, question: Question, generator: Generator) -> list[Prompt]:
        """Return the prompts of a benchmark in a backend's chat template; encodes them once."""
        key = (id(generator), question.benchmark.name)
        if key not in self._prompts:
            self._prompts[key] = prompts_of(question, generator)
        return self._prompts[key]

    def is_complete(self, subject: Subject) -> bool:
        """Return whether the subject has answered all prompts."""
        return not self._missing(subject)

    def generate(self, subject: Subject) -> None:
        """Generate a subject's missing answers. Each is on disk before the next is requested."""
        for sampling, requests in self._missing(subject).items():
            pieces = _stream(subject, sampling, requests)
            self.add_all(self.log(subject, sampling), subject.name, f"Answers of {subject.name}", len(requests), pieces)

    def of(self, subject: Subject, question: Question) -> dict[str, list[Answer]]:
        """Return by item id one answer per sample.

        Raises:
            DataError: answers are missing.
        """
        log = self.log(subject, question.sampling)
        found: dict[str, list[Answer]] = {}
        for prompt in self.prompts(question, subject.generator):
            for sample in range(self.num_samples):
                entry = log.get(prompt.hash, sample)
                if entry is None:
                    raise DataError(
                        f"{subject.name} has not answered all prompts of {question.benchmark.name}",
                        "Run the stage generate first",
                    )
                found.setdefault(prompt.item.id, []).append(_read(entry))
        return found

    def _missing(self, subject: Subject) -> dict[SamplingSettings, list[_Request]]:
        """Return requests without an answer, by sampling; a prompt of two benchmarks is requested once."""
        found: dict[SamplingSettings, dict[str, _Request]] = {}
        for question in self.questions:
            log = self.log(subject, question.sampling)
            for prompt in self.prompts(question, subject.generator):
                for sample in range(self.num_samples):
                    name = f"{prompt.hash}/{sample}"
                    if (prompt.hash, sample) not in log:
                        seed = request_seed(self.seed, prompt.hash, sample)
                        request = GenerationRequest(name, prompt.ids, seed), prompt.item.messages
                        found.setdefault(question.sampling, {}).setdefault(name, request)
        return {sampling: list(requests.values()) for sampling, requests in found.items()}


def _stream(
    subject: Subject, sampling: SamplingSettings, asked: Sequence[_Request]
) -> Generating[list[Entry], None, None]:
    by_id = {request.id: (request, messages) for request, messages in asked}
    tokenizer = subject.generator.tokenizer
    with closing(subject.stream([request for request, _ in asked], sampling)) as answers:  # type: ignore[type-var]
        for answer in answers:
            request, messages = by_id[answer.id]
            response = read_response(answer, opened=ends_in_thought(tokenizer, request.prompt_ids))
            yield [_entry(answer, response, messages, len(request.prompt_ids))]


def _entry(answer: Generation, response: Response, messages: list[Message], num_prompt_tokens: int) -> dict[str, Any]:
    prompt, _, sample = answer.id.rpartition("/")
    return {
        "prompt": prompt,
        "sample": int(sample),
        "messages": messages,
        **response.to_dict(),
        "num_prompt_tokens": num_prompt_tokens,
        "num_tokens": len(answer.token_ids),
        **({"withheld_because": answer.withheld_because} if answer.finish_reason == "withheld" else {}),
    }


def _read(entry: dict[str, Any]) -> Answer:
    response = stored_response(entry)
    return Answer(
        **vars(response),
        messages=entry["messages"],
        num_prompt_tokens=entry["num_prompt_tokens"],
        num_tokens=entry["num_tokens"],
        withheld_because=entry.get("withheld_because", ""),
    )
