"""Generates the queries and responses of slots, and writes each as soon as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from grsap.generation.base import Generation, GenerationRequest, SamplingSettings
from grsap.progress import Advance
from grsap.records import Message, Origin, SafetyRecord
from grsap.response_logprobs import ResponseLogprobs, candidate_arrays, response_hash, tokenizer_hash
from grsap.synthesis.elicitation import Ask, AssistantPrefill
from grsap.synthesis.query_parsing import Query, Reason
from grsap.synthesis.raw_folder import Attempt, RawFolder
from grsap.synthesis.slots import Slot
from grsap.synthesis.state import SynthesisState
from grsap.synthesis.synthesis import Synthesis


class Writer:
    """Fills slots: attempts queries until each slot has one or its attempts are used up, then has them answered.

    Args:
        settings: settings of the synthesis.
        folder: receives attempts and rows.
        state: progress so far; updated.
        advance: called after each generation with 1 if it was usable, else 0, and its number of tokens.
        is_over: whether the time is over; called after each generation.
    """

    def __init__(
        self,
        settings: Synthesis,
        folder: RawFolder,
        state: SynthesisState,
        advance: Advance,
        is_over: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._state = state
        self._advance = advance
        self._is_over = is_over
        self._elicitation = settings.elicitation or AssistantPrefill()
        self._template = settings.generator.template
        identity = settings.generator.identity()
        self._origin = Origin(
            model=model_name(identity),
            revision=str((identity.get("base") or identity).get("revision") or ""),
            template_hash=self._template.hash,
            strategy=self._elicitation.name or type(self._elicitation).__name__,
            seed=settings.seed,
        )
        self._tokenizer_hash = tokenizer_hash(settings.generator.tokenizer.get_vocab())

    def fill(self, slots: Sequence[Slot]) -> bool:
        """Generate what slots lack. Return whether they are complete, which they may not be when the time is over."""
        while not self._is_over():
            unasked = [slot for slot in slots if self._lacks_query(slot)]
            unanswered = [slot for slot in slots if self._lacks_answer(slot)]
            if unasked:
                self._ask(unasked)
            elif unanswered:
                self._answer(unanswered)
            else:
                return True
        return not any(self._lacks_query(slot) or self._lacks_answer(slot) for slot in slots)

    def _lacks_query(self, slot: Slot) -> bool:
        row_id = self._id(slot)
        is_asked = self._state.is_answered(row_id) or self._state.query(row_id) is not None
        return not is_asked and self._state.num_failed(row_id) < self._settings.quota.max_attempts

    def _lacks_answer(self, slot: Slot) -> bool:
        row_id = self._id(slot)
        return not self._state.is_answered(row_id) and self._state.query(row_id) is not None

    def _ask(self, slots: Sequence[Slot]) -> None:
        """Make one attempt for each slot."""
        requests = []
        for slot in slots:
            ids = self._elicitation.checked_prompt_ids(self._as_ask(slot), self._template)
            requests.append((slot, ids, slot.seed(self._settings.seed, self._attempt(slot), "query")))
        for slot, answer in self._stream(requests, self._settings.query_sampling):
            if answer.finish_reason == "withheld":
                query = Query("", "withheld_query")
            else:
                query = self._elicitation.checked_read(self._as_ask(slot), answer, self._template)
            self._note(slot, self._attempt(slot), query.reason, answer, query.text)
            self._advance(int(query.reason is None), len(answer.token_ids))

    def _answer(self, slots: Sequence[Slot]) -> None:
        """Generate a response to each slot's query."""
        requests = []
        for slot in slots:
            query = self._query(slot)
            ids = tuple(self._template.prompt_ids([{"role": "user", "content": query.text}]))
            requests.append((slot, ids, slot.seed(self._settings.seed, query.attempt, "response")))
        for slot, answer in self._stream(requests, self._settings.response_sampling):
            query = self._query(slot)
            if answer.text.strip():
                row = self._row(slot, query, answer)
                self._folder.add_row(row, self._logprobs(row, answer))
                self._state.add_row(row)
            else:  # a conversation needs text in each turn
                is_withheld = answer.finish_reason == "withheld"
                self._note(slot, query.attempt, "withheld_response" if is_withheld else "empty_response", answer, "")
            self._advance(int(bool(answer.text.strip())), len(answer.token_ids))

    def _stream(
        self, requests: Sequence[tuple[Slot, tuple[int, ...], int]], sampling: SamplingSettings
    ) -> Iterator[tuple[Slot, Generation]]:
        slots = {self._id(slot): slot for slot, _, _ in requests}
        asked = [GenerationRequest(self._id(slot), ids, seed) for slot, ids, seed in requests]
        with closing(self._settings.generator.checked_stream(asked, sampling)) as answers:  # type: ignore[type-var]
            for answer in answers:
                yield slots[answer.id], answer
                if self._is_over():
                    return

    def _note(self, slot: Slot, number: int, reason: Reason | None, answer: Generation, text: str) -> None:
        attempt = Attempt(
            id=self._id(slot),
            domain=slot.domain.name,
            index=slot.index,
            kind=slot.kind,
            attempt=number,
            reason=reason,
            finish_reason=answer.finish_reason,
            num_tokens=len(answer.token_ids),
            text=text,
        )
        self._folder.add_attempt(attempt)
        self._state.add_attempt(attempt)

    def _row(self, slot: Slot, query: Attempt, answer: Generation) -> SafetyRecord:
        messages: list[Message] = [
            {"role": "user", "content": query.text},
            {"role": "assistant", "content": answer.text},
        ]
        parent = self._id(Slot(slot.domain, slot.index)) if slot.kind == "benign" else None
        return SafetyRecord(
            id=self._id(slot),
            messages=messages,
            domain=slot.domain.name,
            behaviour="benign_answer" if slot.kind == "benign" else None,
            finish_reason="length" if answer.finish_reason == "length" else "stop",
            origin=replace(self._origin, attempt=query.attempt),
            parent_id=parent,
            scores={"num_query_tokens": query.num_tokens, "num_response_tokens": len(answer.token_ids)},
        )

    def _logprobs(self, row: SafetyRecord, answer: Generation) -> ResponseLogprobs | None:
        k = self._settings.response_sampling.top_logprobs
        if k is None or answer.logprobs is None:
            return None
        stop = () if answer.stop_token_id is None else (answer.stop_token_id,)
        top_ids, top_logprobs = candidate_arrays([entry.top for entry in answer.logprobs], k)
        return ResponseLogprobs(
            id=row.id,
            response_hash=response_hash(answer.text),
            tokenizer_hash=self._tokenizer_hash,
            token_ids=np.array([*answer.token_ids, *stop][: len(answer.logprobs)], np.int32),
            logprobs=np.array([entry.logprob for entry in answer.logprobs], np.float16),
            top_ids=top_ids,
            top_logprobs=top_logprobs,
        )

    def _as_ask(self, slot: Slot) -> Ask:
        return Ask(slot.domain, slot.kind, slot.index + self._attempt(slot))

    def _query(self, slot: Slot) -> Attempt:
        return self._state.usable_query(self._id(slot))

    def _attempt(self, slot: Slot) -> int:
        return self._state.num_failed(self._id(slot))

    def _id(self, slot: Slot) -> str:
        return slot.id(self._settings.seed)


def model_name(identity: dict[str, Any]) -> str:
    """Return the name of the model in a row's origin: its path and adapters, or a server's name for it."""
    base = identity.get("base") or {}
    name = base.get("path") or identity.get("model") or identity["backend"]
    adapters = [str(each) for each in (base.get("merge_adapter"), identity.get("adapter_hash")) if each]
    return "+".join([str(name), *adapters])
