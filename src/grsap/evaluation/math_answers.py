"""Parser and comparison of answers in LaTeX. The comparison needs the extra `math`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

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


def equal_math(found: str, reference: str) -> bool | None:
    """Return whether two answers are mathematically equal by math-verify; False if it takes over five seconds.

    None if the reference cannot be parsed, even where both are the same text: if only such answers counted, the score
    would be too high.

    Raises:
        MissingPackageError: math-verify is not installed.
    """
    try:
        from math_verify import verify
    except ImportError as error:
        raise MissingPackageError(
            "answers of kind math are compared by the package math-verify, which is not installed",
            "Install grsap with the extra `math`",
        ) from error
    gold = _parsed(reference)
    if all(isinstance(form, str) for form in gold):  # math-verify falls back to the text itself
        return None
    if "".join(found.split()) == "".join(reference.split()):
        return True
    return bool(verify(list(gold), list(_parsed(found)), raise_on_error=False))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Any, ...]:
    """Return the forms in which math-verify reads LaTeX: an expression, then the text; empty for none."""
    from math_verify import parse

    return tuple(parse(f"${text}$", raise_on_error=False))
