"""Separates what a reasoning model thinks from what it answers, by the tags of each model family."""

from __future__ import annotations

import re
from dataclasses import dataclass

TAGS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen 3, QwQ, Phi 4, Nemotron, GLM, Hunyuan
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),  # Magistral
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
)
"""What opens a thought, and what closes it."""
TAG_TOKENS = frozenset(tag for pair in TAGS for tag in pair)
CHANNEL_TOKENS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>"})
"""Special tokens around thoughts: of the tags, and of a vocabulary with channels (gpt-oss)."""

_ANY_CLOSING = re.compile("|".join(re.escape(closing) for _, closing in TAGS))
# gpt-oss writes messages on channels: the answer is on `final`.
_CHANNEL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>(?P<name>\w+)[^<]*<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call)\|>")


@dataclass(frozen=True)
class ThoughtAndAnswer:
    """The parts of a response.

    Attributes:
        thought: what precedes the answer, without its tags; empty if there is none.
        answer: what is meant for the user; empty if the thought never ends.
        is_open: whether the thought never ends: then there is no answer.
    """

    thought: str
    answer: str
    is_open: bool = False


def split_thought(text: str, *, opened: bool = False) -> ThoughtAndAnswer:
    """Split a response into its thought and its answer.

    A closing tag without an opening one ends a thought too: some templates write the opening tag into the prompt.

    Args:
        text: the response, with its tags.
        opened: whether the prompt ends inside a thought.
    """
    begun = text.lstrip()
    if _CHANNEL.match(begun):
        return _split_channels(text)
    for opening, closing in TAGS:
        if begun.startswith(opening):
            body = begun[len(opening) :]
            thought, tag, answer = body.partition(closing)
            return _closed(thought, answer) if tag else ThoughtAndAnswer(body.strip(), "", is_open=True)
    found = _ANY_CLOSING.search(text)
    if found is not None and not any(opening in text[: found.start()] for opening, _ in TAGS):
        return _closed(text[: found.start()], text[found.end() :])
    return ThoughtAndAnswer(text.strip(), "", is_open=True) if opened else ThoughtAndAnswer("", text)


def _closed(thought: str, answer: str) -> ThoughtAndAnswer:
    return ThoughtAndAnswer(thought.strip(), answer.lstrip())


def _split_channels(text: str) -> ThoughtAndAnswer:
    thoughts: list[str] = []
    answers: list[str] = []
    starts = [*_CHANNEL.finditer(text)]
    for place, start in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(text)
        body = _CHANNEL_END.sub("", text[start.end() : end]).strip()
        (answers if start["name"] == "final" else thoughts).append(body)
    return ThoughtAndAnswer("\n".join(thoughts), "\n".join(answers), is_open=not answers)
