"""Parsers and comparisons of the answers that responses state. None is an unparsed answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from grsap.evaluation.choice_answers import read_choice
from grsap.evaluation.math_answers import equal_math, read_math
from grsap.evaluation.number_answers import equal_numbers, read_number

AnswerForm = Literal["number", "math", "text"]


@dataclass(frozen=True)
class AnswerReader:
    """Parser of free-form answers: `read` returns a normalized answer or None, `equal` compares one with a reference.

    `equal` returns None if it cannot read the reference.
    """

    read: Callable[[str], str | None]
    equal: Callable[[str, str], bool | None]


def read_text(text: str) -> str | None:
    """Return the response without outer whitespace; None if it is empty."""
    return text.strip() or None


def equal_texts(found: str, reference: str) -> bool:
    """Return whether two texts are the same."""
    return found == reference


ANSWER_FORMS: dict[AnswerForm, AnswerReader] = {
    "number": AnswerReader(read_number, equal_numbers),
    "math": AnswerReader(read_math, equal_math),
    "text": AnswerReader(read_text, equal_texts),
}

__all__ = ["ANSWER_FORMS", "AnswerForm", "AnswerReader", "read_choice", "read_math", "read_number", "read_text"]
