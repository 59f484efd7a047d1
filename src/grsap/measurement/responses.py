"""What a model wrote, read as an answer: by the same code in checks during training and in evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grsap.generation.base import Generation
from grsap.thoughts import split_thought


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        response: its text, without the thought that precedes it.
        finish_reason: `stop`, `length` (cut by the token limit), or `withheld`: a server gave no answer.
        thought: what the model thought before it answered; empty for a model that does not.
        is_thought_open: the thought never ends: there is no answer, and the text is empty.
    """

    response: str
    finish_reason: str
    thought: str = field(default="", kw_only=True)
    is_thought_open: bool = field(default=False, kw_only=True)

    @property
    def is_withheld(self) -> bool:
        """Whether a server gave no answer: its outcomes are all unparsed."""
        return self.finish_reason == "withheld"

    @property
    def is_unanswered(self) -> bool:
        """Whether there is no answer that a judge could label."""
        return self.is_withheld or self.is_thought_open

    def to_dict(self) -> dict[str, Any]:
        """Plain values; those on thoughts only if there is one."""
        values: dict[str, Any] = {"response": self.response, "finish_reason": self.finish_reason}
        if self.thought or self.is_thought_open:
            values |= {"thought": self.thought, "is_thought_open": self.is_thought_open}
        return values


def read_response(answer: Generation, *, opened: bool) -> Response:
    """Separate thought and answer; `opened` says whether the prompt ends inside a thought."""
    return _separate(answer.text, answer.finish_reason, opened)


def stored_response(values: Mapping[str, Any]) -> Response:
    """The inverse of `Response.to_dict`. Files of older versions have thought and answer in one text."""
    if "thought" not in values:
        return _separate(values["response"], values["finish_reason"], opened=False)
    thought, is_open = values["thought"], values["is_thought_open"]
    return Response(values["response"], values["finish_reason"], thought=thought, is_thought_open=is_open)


def _separate(text: str, finish_reason: str, opened: bool) -> Response:
    parts = split_thought(text, opened=opened and finish_reason != "withheld")
    return Response(parts.answer, finish_reason, thought=parts.thought, is_thought_open=parts.is_open)
