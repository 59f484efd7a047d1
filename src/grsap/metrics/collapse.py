"""Answers that a model gives whatever it is asked: a letter, a stub of JSON, one sentence for all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

MIN_SHARED = 5
"""So many prompts at least must have got the same answer."""

MIN_SHARED_SHARE = 0.1
"""And this share of all prompts."""

_LETTER = re.compile(r"(?:the )?(?:correct )?(?:answer|option|choice)?(?: is)?\W*\(?([a-z0-9])\)?\W*", re.IGNORECASE)
_JSON_KEY = re.compile(r"""\W*\{\s*["'](\w+)["']\s*:""")


def skeleton(response: str) -> str:
    """What stays of an answer when what varies from prompt to prompt is taken away.

    A bare answer letter, the first key of a JSON object, whole or cut; else the text in lower case, with digits as 0
    and single spaces.
    """
    text = response.strip()
    if _LETTER.fullmatch(text):
        return "letter"
    if found := _JSON_KEY.match(text):
        return f"json {found[1]}"
    return re.sub(r"\d+", "0", " ".join(text.lower().split()))


def collapsed(responses: Sequence[str], exempt: Sequence[bool]) -> list[bool]:
    """Of each answer, whether it is one that the model gives to many prompts.

    Args:
        responses: answers to different prompts.
        exempt: answers that may well be alike: refusals.

    Returns:
        True for answers whose `skeleton` at least `MIN_SHARED` answers and `MIN_SHARED_SHARE` of all have, and which
        are not exempt.
    """
    skeletons = [None if left_out else skeleton(text) for text, left_out in zip(responses, exempt, strict=True)]
    counts = Counter(each for each in skeletons if each is not None)
    least = max(MIN_SHARED, MIN_SHARED_SHARE * len(responses))
    return [each is not None and counts[each] >= least for each in skeletons]
