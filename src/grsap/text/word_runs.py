"""Word n-grams, for finding passages that texts share."""

from __future__ import annotations

import re

NUM_WORDS = 8
"""Words per run."""


def word_runs(text: str, num_words: int = NUM_WORDS) -> list[int]:
    """Return hashes of all runs of `num_words` words, in order, ignoring case and punctuation.

    A shorter text is a single run; a text without words has none. Hashes differ between processes.
    """
    words = re.findall(r"\w+", text.lower())
    size = min(num_words, len(words))
    return [hash(tuple(words[start : start + size])) for start in range(len(words) - size + 1)] if words else []
