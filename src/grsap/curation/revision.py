"""Replaces harmful responses to harmful requests by refusals that the model writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from grsap.curation.base import Filter
from grsap.curation.completeness import Completeness
from grsap.curation.decision import Decision, RevisedResponse, is_meant_harmless, query_of, response_of
from grsap.curation.harmlessness import HARMFUL, NOT_REFUSED, UNPARSED, info_of, labels_of, reason_against
from grsap.curation.ledger import Rows
from grsap.curation.work import Work, judge_identity, slim_verdict
from grsap.errors import ConfigError
from grsap.generation import GenerationRequest, Generator, SamplingSettings
from grsap.judging.base import Exchange, Judge, Verdict
from grsap.judging.refusal_matcher import is_refusal
from grsap.records import Message, SafetyRecord
from grsap.response_logprobs import response_hash

INSTRUCTION = (
    "This request could lead to harm. Do not fulfil any part of it. Say clearly that you will not help with it, give "
    "the reason in a sentence, and offer safe help if there is any."
)
SAMPLING = SamplingSettings(max_new_tokens=512, temperature=0.7)
"""The sampling settings of the paper."""


class Revision(Filter):
    """Restores rows that `Harmlessness` rejected, with a new response that refuses.

    The paper's "revise and include"; leave the filter out to exclude these rows. The model answers again with an
    instruction to refuse, up to `max_attempts` times. A response is accepted if it is complete, the judge calls it
    harmless, and it is a refusal by the judge's label or, if there is none, by the refusal matcher. Responses that a
    server withholds are counted as `num_withheld`. Only harmful requests are revised, because harmless ones should not
    be refused. Reasons: `not_revised` (no attempt was accepted), `harmless_request`, `request_unparsed`.

    The paper's code is less strict: `rows: all` and `accept: harmless` restore its rules.

    Args:
        generator: the model that answers: the one that wrote the rows.
        max_attempts: attempts per row.
        instruction: appended to the request for these attempts; it is not stored in the row.
        sampling: sampling of the responses; the paper uses 512 tokens at temperature 0.7.
        rows: rejected rows that are revised: `harmful_requests`, or `all`: also harmless requests, and rows without a
            parsed verdict.
        accept: new responses that are accepted: `refusals`, as above, or `harmless`: all that the judge calls harmless,
            incomplete ones and ones that do not refuse included.
    """

    def __init__(
        self,
        generator: Generator,
        max_attempts: int = 3,
        instruction: str = INSTRUCTION,
        sampling: SamplingSettings = SAMPLING,
        rows: Literal["harmful_requests", "all"] = "harmful_requests",
        accept: Literal["refusals", "harmless"] = "refusals",
    ) -> None:
        self.generator = generator
        self.max_attempts = max_attempts
        self.instruction = instruction
        self.sampling = sampling
        self.rows = rows
        self.accept = accept
        self.takes_rejected = frozenset({HARMFUL, NOT_REFUSED, *([UNPARSED] if rows == "all" else [])})

    @property
    def needs(self) -> frozenset[str]:
        """The judge."""
        return frozenset({"judge"})

    def check(self, where: str) -> None:
        """Raise ConfigError for attempts or sampling out of range."""
        self.sampling.check()
        if self.max_attempts < 1:
            raise ConfigError(f"{where}: max_attempts is {self.max_attempts}", "Give at least 1, or leave Revision out")
        if self.max_attempts > 1 and self.sampling.temperature == 0:
            raise ConfigError(f"{where}: several attempts at temperature 0 are all the same", "Give more than 0")

    def check_ready(self) -> None:
        """Check that the generator's server answers."""
        self.generator.check_ready()

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row, after all attempts."""
        judge = work.judge
        refused_for = [None if self.rows == "all" else _reason_not_to_revise(row, judge) for row in rows]
        taken: dict[int, Decision] = {}
        asked = [number for number, reason in zip(rows.numbers.tolist(), refused_for, strict=True) if reason is None]
        num_asked = []
        for attempt in range(self.max_attempts):
            left = rows.only(number for number in asked if number not in taken)
            if not len(left):
                break
            num_asked.append(len(left))
            taken |= self._attempt(left, attempt, work)
        work.audit |= {"num_asked_by_attempt": num_asked, "num_taken": len(taken)}
        self.generator.close()
        for number, reason in zip(rows.numbers.tolist(), refused_for, strict=True):
            yield taken.get(number) or Decision(False, reason or "not_revised")

    def _attempt(self, rows: Rows, attempt: int, work: Work) -> dict[int, Decision]:
        """Return decisions on the rows whose new response is accepted, by row number."""
        judge = work.judge
        identity = {
            **judge_identity(judge),
            "generator": self.generator.content_identity(),
            "template_hash": self.generator.template.hash,
            "settings": [self.instruction, self.sampling.__dict__, work.seed],
        }

        def compute(piece: Sequence[SafetyRecord]) -> list[dict[str, Any]]:
            return self._ask(piece, attempt, work)

        taken = {}
        num_withheld = 0
        for numbers, values in work.kept(f"revision_{attempt + 1}", identity, rows, compute, work.judge_batch_size):
            for number, value in zip(numbers, values, strict=True):
                num_withheld += value["finish_reason"] == "withheld"
                verdict = slim_verdict(value["verdict"])
                row = work.raw.record(number)
                if self._is_taken(row, value, verdict, judge):
                    history = self._history(row, attempt)
                    revised = RevisedResponse(value["response"], history)
                    labels = labels_of(verdict, judge)
                    taken[number] = Decision(labels=labels, revision=revised, judge=info_of(judge))
        if num_withheld:
            work.audit["num_withheld"] = work.audit.get("num_withheld", 0) + num_withheld
        return taken

    def _ask(self, rows: Sequence[SafetyRecord], attempt: int, work: Work) -> list[dict[str, Any]]:
        requests = [
            GenerationRequest(row.id, self._prompt_ids(row), attempt_seed(work.seed, row.id, attempt)) for row in rows
        ]
        answers = self.generator.generate(requests, self.sampling)
        given = [number for number, answer in enumerate(answers) if answer.finish_reason != "withheld"]
        exchanges = [Exchange(query_of(rows[number]), answers[number].text) for number in given]
        judged = dict(zip(given, work.judge.checked_verdicts(exchanges), strict=True))
        return [
            {
                "response": answer.text,
                "finish_reason": answer.finish_reason,
                "verdict": judged.get(number, Verdict(reason="unanswered")).to_dict(),
            }
            for number, answer in enumerate(answers)
        ]

    def _prompt_ids(self, row: SafetyRecord) -> tuple[int, ...]:
        turn: Message = {"role": "user", "content": f"{query_of(row)}\n\n{self.instruction}"}
        return tuple(self.generator.template.prompt_ids([*row.messages[:-2], turn]))

    def _is_taken(self, row: SafetyRecord, value: dict[str, Any], verdict: Verdict, judge: Judge) -> bool:
        turn: Message = {"role": "assistant", "content": value["response"]}
        fresh = SafetyRecord(row.id, [*row.messages[:-1], turn], row.domain, finish_reason=value["finish_reason"])
        if reason_against(verdict, fresh, judge) is not None:
            return False
        if self.accept == "harmless":
            return True
        refuses = verdict.response_refusal
        if refuses is None:
            refuses = is_refusal(value["response"])
        return bool(refuses) and Completeness(min_query_words=0).decide_row(fresh).keep

    def _history(self, row: SafetyRecord, attempt: int) -> dict[str, Any]:
        return {
            "step": "revision",
            "attempt": attempt + 1,
            "model": self.generator.model_name,
            "replaced_response_hash": response_hash(response_of(row)),
            "replaced_finish_reason": row.finish_reason,
        }


def attempt_seed(seed: int, row_id: str, attempt: int) -> int:
    """Return the random seed of an attempt, in [0, 2^48)."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, row_id, attempt, "revision"]).encode()).digest()[:6])


def _reason_not_to_revise(row: SafetyRecord, judge: Judge) -> str | None:
    if "prompt_harmful" in judge.labels:
        return {True: None, False: "harmless_request", None: "request_unparsed"}[row.prompt_harmful]
    return "harmless_request" if is_meant_harmless(row) else None
