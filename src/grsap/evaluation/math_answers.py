"""Parser and comparison of answers in LaTeX. The comparison needs the extra `math`."""

from __future__ import annotations

import re

from grsap.errors import MissingPackageError
from grsap.evaluation.statements import last_boxed, last_statement
from grsap.thoughts import split_thought

MAX_CHARACTERS = 500
"""Longer answers are unparsed: comparing them would take too long."""


def read_math(text: str) -> str | None:
    """Return the LaTeX that a response states as its answer; None if it states none.

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
    """Return whether two answers are mathematically equal by math-verify; False if it takes over five seconds.

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
