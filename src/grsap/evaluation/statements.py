"""Locate the statement of the answer in a response."""

from __future__ import annotations

import re

_STATES = re.compile(
    r"\b(?:answer|solution|result|choice|sentiment)\b(?:\s+(?:to|of|for)\b[^.\n:=]{0,80}?)?\s*"
    r"(?:is|are|was|would be|will be|should be|must be|comes to|equals|[:=])\s*:?\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def last_statement(text: str) -> str | None:
    """Return the text after the last "answer is" or "answer:", up to the end of its sentence; None without one."""
    found = list(_STATES.finditer(text))
    if not found:
        return None
    rest = text[found[-1].end() :].lstrip()
    return next(iter(sentences(rest)), "")


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines. A decimal point does not end a sentence."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}`, with inner braces; empty if it is not closed, None without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place].strip()
    return ""
