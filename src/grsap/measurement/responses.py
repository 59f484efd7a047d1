"""Separates thought and answer of a response, for checks during training and for evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grsap.generation.base import Generation
from grsap.thoughts import split_thought


@dataclass(frozen=True)
class Response:
    """A response of a model.

    Attributes:
        response: text of the answer, without the thought before it.
        finish_reason: `stop`, `length` (truncated by the token limit), or `withheld` (a server gave no answer).
        thought: reasoning before the answer; empty without any.
        is_thought_open: whether the thought never ends; there is then no answer, and `response` is empty.
    """

    response: str
    finish_reason: str
    thought: str = field(default="", kw_only=True)
    is_thought_open: bool = field(default=False, kw_only=True)

    @property
    def is_withheld(self) -> bool:
        """Whether a server gave no answer; all its outcomes are unparsed."""
        return self.finish_reason == "withheld"

    @property
    def is_unanswered(self) -> bool:
        """Whether there is no answer to judge."""
        return self.is_withheld or self.is_thought_open

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; those on thoughts only if there is one."""
        values: dict[str, Any] = {"response": self.response, "finish_reason": self.finish_reason}
        if self.thought or self.is_thought_open:
            values |= {"thought": self.thought, "is_thought_open": self.is_thought_open}
        return values


def read_response(answer: Generation, *, opened: bool) -> Response:
    """Separate thought and answer; `opened` is whether the prompt ends inside a thought."""
    return _separate(answer.text, answer.finish_reason, opened)


def stored_response(values: Mapping[str, Any]) -> Response:
    """Restore a response from `Response.to_dict`. Older versions stored thought and answer in one text."""
    if "thought" not in values:
        return _separate(values["response"], values["finish_reason"], opened=False)
    thought, is_open = values["thought"], values["is_thought_open"]
    return Response(values["response"], values["finish_reason"], thought=thought, is_thought_open=is_open)


def _separate(text: str, finish_reason: str, opened: bool) -> Response:
    parts = split_thought(text, opened=opened and finish_reason != "withheld")
    return Response(parts.answer, finish_reason, thought=parts.thought, is_thought_open=parts.is_open)
