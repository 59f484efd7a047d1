"""Parsing of queries from a model's continuation. No text has a special meaning: "None" is a word like any other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from grsap.judging import is_refusal
from grsap.text.template import ChatTemplate

MIN_WORDS = 3
"""Least number of words of a query: shorter texts name a topic and ask nothing."""

Reason = Literal[
    "empty_text",
    "cut_by_length",
    "no_closing_quote",
    "too_short",
    "refusal",
    "control_tokens",
    "withheld_query",
    "empty_response",
    "withheld_response",
]
"""Why an attempt gave no row. `empty_response`: the query was usable, but the response to it was empty. `withheld_...`:
the server did not answer this prompt (`Generation.withheld_because`)."""
OF_RESPONSES = frozenset({"empty_response", "withheld_response"})
"""Reasons that concern the response: the query was usable."""


@dataclass(frozen=True)
class Query:
    """A query that a model wrote, or, with `reason`, an unusable text."""

    text: str
    reason: Reason | None = None


def read_quoted(text: str, *, ended: bool, template: ChatTemplate | None = None) -> Query:
    """Parse a query from text that follows an opening double quote, up to the matching closing quote.

    Nested quotes are kept: one that opens before a word is closed by the next one after a word.

    Args:
        text: the model's continuation.
        ended: whether the model ended the turn. Then a single paragraph needs no closing quote.
        template: rejects queries that spell one of its control tokens; None allows them.
    """
    end = closing_quote(text)
    if end is not None:
        return check_query(text[:end].replace('\\"', '"'), template)
    if not ended:
        return Query(text, "cut_by_length")
    if not text.strip():
        return Query(text, "empty_text")
    if "\n" in text.strip():
        return Query(text, "no_closing_quote")
    return check_query(text, template)


def read_turn(text: str, *, ended: bool, template: ChatTemplate | None = None) -> Query:
    """Parse a query that is a whole turn."""
    return check_query(text, template) if ended else Query(text, "cut_by_length")


def check_query(text: str, template: ChatTemplate | None = None) -> Query:
    """Strip a whole query, and check that it is usable."""
    text = text.strip()
    if not any(character.isalpha() for character in text):
        return Query(text, "empty_text")
    if template is not None and template.spells_control_token(text):
        return Query(text, "control_tokens")
    if len(text.split()) < MIN_WORDS:
        return Query(text, "too_short")
    if is_refusal(text):
        return Query(text, "refusal")
    return Query(text)


def closing_quote(text: str) -> int | None:
    """Return the index of the quote that closes the one opened before `text`, or None."""
    inner = 0
    last = None
    for match in re.finditer(r'(?<!\\)["\u201c\u201d]', text):
        place, quote = match.start(), match[0]
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        begins_word = (not before or before.isspace() or before in "([{-:,") and (after.isalnum() or after == "'")
        opens = quote == "\u201c" or (quote == '"' and begins_word)
        if opens and (place or quote == "\u201c"):
            inner += 1
        elif inner:
            inner -= 1
            last = place
        else:
            return place
    # `He said "stop it"` closes both with one quote where nothing but punctuation follows.
    if last is not None and inner == 0 and not re.search(r"\w", text[last + 1 :]):
        return last + 1
    return None
