"""A response as the refusal matcher reads it: plain sentences of the speaker's own."""

from __future__ import annotations

import re

HEAD_LENGTH = 240
"""Sentences that begin within as many characters are read: refusals come first."""
MAX_SENTENCE = 400

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u0060": "'", "\u00b4": "'", "\uff07": "'"})
_BARE = {"cant": "can't", "wont": "won't", "dont": "don't", "im": "i'm", "couldnt": "couldn't"}
_BARE_WORD = re.compile(r"\b(?:cant|wont|dont|im|couldnt)\b")
_CONTRACTIONS = [
    (re.compile(pattern), full)
    for pattern, full in (
        (r"\bcan't\b|\bcan not\b(?! only)", "cannot"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"\bain't\b", "am not"),
        (r"\bgonna\b", "going to"),
        (r"n't\b", " not"),
        (r"\bi'm\b", "i am"),
        (r"'ll\b", " will"),
        (r"'d\b", " would"),
        (r"'ve\b", " have"),
        (r"'re\b", " are"),
        (r"\blet's\b", "let us"),
        (r"\b(it|that|this|here|there|what|which|he|she)'s\b", r"\1 is"),
    )
]
_WRAPPED = re.compile(r"(?<![.!?:;,\n])\n[ \t]*(?=[a-z])")
_ROLE = re.compile(r"^(?:(?:assistant|ai|response|answer|chatbot|bot|model)\s*[:\n]\s*)+", re.IGNORECASE)
_DRAFT = re.compile(
    r"^(?:(?:subject|translation|example|draft|template|message|caption|script|in \w+)\s*:"
    r"|dear (?!user|customer)[^\n.!?]{1,40}[,:]|(?:hi|hello|hey) (?!there\b)[^\n.!?,]{1,30},\s*\n)"
)
_DICTATED = re.compile(r"\b(?:says?|said|writes?|wrote|reads?|repl(?:y|ies|ied))\s*:\s*[^\n.!?]{1,300}")
_INTRODUCED = re.compile(r"\bhere (?:is|are|goes)\b[^\n]*:\s*\n")
_SPEAKER = re.compile(r"^(?!(?:user|human|assistant|ai)\b)[A-Za-z]{2,20}:\s.*$", re.MULTILINE)
_MARKUP = re.compile(r"[*_#`~|]+|^\s*(?:>|[-\u2022+]\s|\d{1,2}[.)]\s)", re.MULTILINE)
_DECORATION = re.compile(r"^[^\w\"'\u201c\u00ab\u201e]+")
_WHOLE_QUOTE = re.compile(r"^[\"'\u201c\u00ab]([^\"\u201c\u201d\u00ab\u00bb]*)[\"'\u201d\u00bb]\s*$")
_QUOTES = re.compile(
    r"\"[^\"]{1,600}\"|\u201c[^\u201c\u201d]{1,600}\u201d|\u00ab[^\u00ab\u00bb]{1,600}\u00bb"
    r"|\u201e[^\u201c\u201d]{1,600}[\u201c\u201d]"
    r"|(?<![a-z])'(?=\S)(?:[^'\n]|'(?=[a-z])){1,300}'(?![a-z])"
)
_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])[)\]]*\s+|\n+|(?<=[\u3002\uff01\uff1f])")


def own_sentences(response: str) -> list[str]:
    """The first sentences of an answer: lower case, no contractions, markup or quotations.

    What the answer writes for somebody else is left out: letters, dialogues, and what "here is ...:" introduces.
    """
    text = response[: 4 * MAX_SENTENCE].translate(_APOSTROPHES)
    if len(_SPEAKER.findall(text)) > 1:
        text = _SPEAKER.sub("", text)
    text = _MARKUP.sub("", _WRAPPED.sub(" ", text).lower())
    text = _ROLE.sub("", _DECORATION.sub("", text.strip())).strip()
    if whole := _WHOLE_QUOTE.match(text):
        text = whole[1]
    text = _DICTATED.sub(" \u2026 ", _QUOTES.sub(" \u2026 ", text))
    text = _DECORATION.sub("", text)
    if _DRAFT.match(text):
        return []
    text = _BARE_WORD.sub(lambda found: _BARE[found[0]], text)
    for pattern, full in _CONTRACTIONS:
        text = pattern.sub(full, text)
    if introduced := _INTRODUCED.search(text):
        text = text[: introduced.end()]
    return _sentences(text)


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for end in [*(match.span() for match in _END.finditer(text)), (len(text), len(text))]:
        sentence = re.sub(r"\s+", " ", text[start : end[0]]).strip()
        if start < HEAD_LENGTH and sentence:
            found.append(sentence[:MAX_SENTENCE])
        start = end[1]
    return found
