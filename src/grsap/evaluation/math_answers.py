"""The answer to a problem of mathematics, and whether it equals another. Needs the extra `math` to compare."""

from __future__ import annotations

import re

from grsap.errors import MissingPackageError
from grsap.evaluation.statements import last_boxed, last_statement
from grsap.thoughts import split_thought

MAX_CHARACTERS = 500
"""A longer answer is not read: what computes with it would take too long."""


def read_math(text: str) -> str | None:
    """The LaTeX that a response gives as its answer; None if it gives none.

    The last `\\boxed{}` or, without one, what follows the last "answer is" up to the end of its sentence.
    """
    text = split_thought(text).answer
    stated = last_boxed(text)
    if stated is None:
        stated = last_statement(text)
    if stated is None:
        return None
    plain = re.sub(r"^(?:\$+|\\\(|\\\[)|(?:\$+|\\\)|\\\])?[.\s]*$", "", stated.strip()).strip()
    return plain if 0 < len(plain) <= MAX_CHARACTERS else None


def equal_math(found: str, reference: str) -> bool:
    """Whether two answers are the same mathematically, by math-verify; within five seconds, else they are not.

    Raises:
        MissingPackageError: math-verify is not installed.
    """
    if "".join(found.split()) == "".join(reference.split()):
        return True
    try:
        from math_verify import parse, verify
    except ImportError as error:
        raise MissingPackageError(
            "answers of kind math are compared by the package math-verify, which is not installed",
            "Install grsap with the extra `math`",
        ) from error
    gold, answer = (parse(f"${text}$", raise_on_error=False) for text in (reference, found))
    return bool(verify(gold, answer, raise_on_error=False))
