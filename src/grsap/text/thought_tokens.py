"""Thoughts in token ids: what opens one in a prompt, and special tokens that mark one in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from grsap.thoughts import CHANNEL_TOKENS, TAG_TOKENS, TAGS

_END_OF_PROMPT = 16
"""Tokens of a prompt that are decoded to see how it ends."""


def ends_in_thought(tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int]) -> bool:
    """Whether a prompt ends with an opening tag, as some templates write it: what follows is a thought."""
    tail = str(tokenizer.decode(list(prompt_ids[-_END_OF_PROMPT:])))
    return tail.rstrip().endswith(tuple(opening for opening, _ in TAGS))


def thought_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The special tokens that mark thoughts, by id. Decoding without special tokens would lose them."""
    special = {str(token) for token in tokenizer.all_special_tokens}
    marks = TAG_TOKENS | (CHANNEL_TOKENS if "<|channel|>" in special else frozenset())
    tokens = sorted(marks & special)
    ids: Any = tokenizer.convert_tokens_to_ids(tokens)
    return dict(zip(ids, tokens, strict=True))


def decode_answer(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], marks: dict[int, str]) -> str:
    """Decode token ids without special tokens, except those that mark thoughts (`thought_tokens`)."""
    parts: list[str] = []
    start = 0
    places = [place for place, token in enumerate(ids) if token in marks]
    for place in [*places, len(ids)]:
        piece = list(ids[start:place])
        parts.append(str(tokenizer.decode(piece, skip_special_tokens=True, clean_up_tokenization_spaces=False)))
        parts.append(marks[ids[place]] if place < len(ids) else "")
        start = place + 1
    return "".join(parts)
