"""The exact format of a guard model's answer, and the probability of its labels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grsap.generation.base import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Words = Mapping[str, bool | None]
"""A verdict's word in lower case -> label; None for "does not apply"."""

YES_NO: Words = {"yes": True, "no": False}


@dataclass(frozen=True)
class AnswerFormat:
    """Format of an answer with a verdict; other answers are unparsed.

    Args:
        pattern: of the whole answer without outer whitespace; each label is a named group.
        words: label -> its words.
    """

    pattern: re.Pattern[str]
    words: Mapping[str, Words]

    def parse(self, text: str) -> dict[str, bool | None] | None:
        """Return label -> verdict; None if the text does not match."""
        match = self.pattern.fullmatch(text.strip())
        if match is None:
            return None
        return {label: words[match[label].lower()] for label, words in self.words.items()}

    def scores(self, answer: Generation, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
        """Return label -> probability in [0, 1] of its words for True, at the first token of the verdict.

        Sums over the listed tokens that begin words for True only. Labels without such a token are left out.
        """
        lead = len(answer.text) - len(answer.text.lstrip())
        match = self.pattern.fullmatch(answer.text.strip())
        if match is None or answer.logprobs is None:
            return {}
        found = {}
        for label, words in self.words.items():
            place = _token_at(answer, tokenizer, lead + match.start(label))
            entry = answer.logprobs[place]
            listed = {**dict(entry.top), answer.token_ids[place]: entry.logprob}
            chances = [
                math.exp(logprob)
                for token, logprob in listed.items()
                if _begins_only_true(str(tokenizer.decode([token])), words)
            ]
            if chances:
                found[label] = min(1.0, sum(chances))
        return found


def _token_at(answer: Generation, tokenizer: PreTrainedTokenizerBase, position: int) -> int:
    """Return the index of the token that contains the character at `position`."""
    for number in range(len(answer.token_ids)):
        head = tokenizer.decode(list(answer.token_ids[: number + 1]), skip_special_tokens=True)
        if len(head) > position:
            return number
    return len(answer.token_ids) - 1


def _begins_only_true(token: str, words: Words) -> bool:
    text = token.strip(" :\n\t\u2581").lower()
    meanings = {meaning for word, meaning in words.items() if text and word.startswith(text)}
    return meanings == {True}
