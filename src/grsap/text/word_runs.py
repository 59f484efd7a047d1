"""Runs of words that texts share."""

from __future__ import annotations

import re

NUM_WORDS = 8
"""Words of a run."""


def word_runs(text: str, num_words: int = NUM_WORDS) -> list[int]:
    """Hashes of all runs of so many words, in order, without case and punctuation.

    A text of fewer words is one run; one without a word has none. Hashes differ from process to process.
    """
    words = re.findall(r"\w+", text.lower())
    size = min(num_words, len(words))
    return [hash(tuple(words[start : start + size])) for start in range(len(words) - size + 1)] if words else []
