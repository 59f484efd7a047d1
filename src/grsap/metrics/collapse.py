"""Mode collapse: one answer to many prompts, such as a letter, a JSON stub or a fixed sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

MIN_SHARED = 5
"""Minimum number of prompts with the same answer."""

MIN_SHARED_SHARE = 0.1
"""Minimum share of all prompts with the same answer, in [0, 1]."""

_LETTER = re.compile(r"(?:the )?(?:correct )?(?:answer|option|choice)?(?: is)?\W*\(?([a-z0-9])\)?\W*", re.IGNORECASE)
_JSON_KEY = re.compile(r"""\W*\{\s*["'](\w+)["']\s*:""")


def skeleton(response: str) -> str:
    """Return an answer without the parts that vary between prompts.

    It is `letter` for a bare answer letter, and the first key for a JSON object, complete or not; otherwise the text in
    lower case with digits as 0 and single spaces.
    """
    text = response.strip()
    if _LETTER.fullmatch(text):
        return "letter"
    if found := _JSON_KEY.match(text):
        return f"json {found[1]}"
    return re.sub(r"\d+", "0", " ".join(text.lower().split()))


def collapsed(responses: Sequence[str], exempt: Sequence[bool]) -> list[bool]:
    """Return whether the model gives each answer to many prompts.

    Args:
        responses: (n,) answers to different prompts.
        exempt: (n,) whether an answer may be alike, as refusals are.

    Returns:
        (n,) True for answers that are not exempt and whose `skeleton` occurs in at least `MIN_SHARED` answers and in
        `MIN_SHARED_SHARE` of all.
    """
    skeletons = [None if left_out else skeleton(text) for text, left_out in zip(responses, exempt, strict=True)]
    counts = Counter(each for each in skeletons if each is not None)
    least = max(MIN_SHARED, MIN_SHARED_SHARE * len(responses))
    return [each is not None and counts[each] >= least for each in skeletons]
