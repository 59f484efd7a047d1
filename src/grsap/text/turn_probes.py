"""Analysis of how a chat template formats turns, by rendering unique probe texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from grsap.errors import TemplateError
from grsap.records import Message, Role

if TYPE_CHECKING:
    import re

Render = Callable[[Sequence[Message]], str]

ANSWER = "grsap probe answer"
PROBE: list[Message] = [
    {"role": "user", "content": "grsap probe question"},
    {"role": "assistant", "content": ANSWER},
]
_NEXT = "grsap probe next"


class RefusedTurnsError(TemplateError):
    """The template rejects these roles in this order."""


def probe_turns(roles: Sequence[Role]) -> list[Message]:
    """Return a conversation with these roles and a different text in each turn."""
    return [{"role": role, "content": f"grsap probe {number}."} for number, role in enumerate(roles, 1)]


def check_turns_are_written(roles: Sequence[Role], render: Render) -> None:
    """Check that the text of each turn is in the rendering.

    Args:
        roles: roles of the turns.
        render: renders messages to text.

    Raises:
        TemplateError: the template omits a turn, as early Phi-3 templates omit system turns, or rejects the roles.
    """
    turns = probe_turns(roles)
    text = render(turns)
    for number, turn in enumerate(turns, 1):
        if turn["content"] not in text:
            remedy = "Use another chat template: set chat_template to a file"
            if turn["role"] == "system":
                remedy = f"Put the system text into the first user turn, or {remedy[0].lower()}{remedy[1:]}"
            raise TemplateError(
                f"the chat template leaves out turn {number} ({turn['role']}) of a conversation with the roles "
                f"{', '.join(roles)}",
                remedy,
            )


@dataclass(frozen=True)
class TurnEnd:
    """The end of an assistant's turn in a template.

    Attributes:
        text: rendered text from the first of `tokens` to the last.
        tokens: control tokens that end the turn, in order.
        fault: error to raise for training with this template, which can only be used for prompts; None if it can.
    """

    text: str
    tokens: tuple[str, ...]
    fault: TemplateError | None = None


def find_turn_end(probe: str, render: Render, control: re.Pattern[str], eos: str | None) -> TurnEnd:
    """Find the control tokens that end an assistant's turn.

    They are the first control token after the answer, those directly after it, and all up to the end-of-sequence
    token: Cohere's templates end the response and then the turn. Only those that also occur before a user turn count.

    Args:
        probe: the rendered `PROBE`.
        render: renders messages to text.
        control: matches control tokens.
        eos: end-of-sequence token of the tokenizer.

    Raises:
        TemplateError: no control token follows the answer.
    """
    _, found, suffix = probe.rpartition(ANSWER)
    at_end = list(control.finditer(suffix)) if found else []
    if not at_end:
        raise TemplateError(
            "the chat template writes no special token after an assistant turn, so a model could not learn to stop",
            "Set the tokenizer's chat template to one that writes eos_token, or another special token, there",
        )
    between = _before_user_turn(render)
    always = suffix if between is None else commonprefix([suffix, between])  # noqa: RUF071 (no paths)
    ends = [match for match in at_end if match.end() <= len(always)]
    if not ends:
        fault = TemplateError(
            f"the chat template ends an assistant turn with {at_end[0][0]!r} only where nothing follows it; before a "
            f"user turn it writes {between!r}",
            "Set the tokenizer's chat template to one that ends all assistant turns alike",
        )
        return TurnEnd(at_end[0][0], (at_end[0][0],), fault)
    last = next((number for number, match in enumerate(ends) if match[0] == eos), 0)
    while last + 1 < len(ends) and ends[last + 1].start() == ends[last].end():
        last += 1
    text = suffix[ends[0].start() : ends[last].end()]
    return TurnEnd(text, tuple(match[0] for match in ends[: last + 1]))


def _before_user_turn(render: Render) -> str | None:
    """Return the text between an answer and the next user turn; None if the template supports one exchange only."""
    following: list[Message] = [{"role": "user", "content": _NEXT}, {"role": "assistant", "content": _NEXT}]
    try:
        text = render([*PROBE, *following])
    except RefusedTurnsError:
        return None
    _, answered, rest = text.partition(ANSWER)
    before, followed, _ = rest.partition(_NEXT)
    return before if answered and followed else None


def find_turn_marks(render: Render, control: re.Pattern[str]) -> set[str]:
    """Return the control tokens that the template writes around turns, such as role headers.

    A pair such as `<think></think>` between a question and its answer does not count: some templates write an empty
    thought there, while a real thought is part of the answer.
    """
    marks: set[str] = set()
    following: Message = {"role": "user", "content": _NEXT}
    for messages in ([*PROBE, following], PROBE, [{"role": "system", "content": _NEXT}, *PROBE]):
        try:
            text = render(messages)  # type: ignore[arg-type]  # roles of literals
        except RefusedTurnsError:
            continue
        before, _, rest = text.partition(PROBE[0]["content"])
        opening, _, after = rest.partition(ANSWER)
        opened = set(control.findall(opening))
        pairs = {token for token in opened if f"</{token[1:]}" in opened}
        marks |= opened - pairs - {f"</{token[1:]}" for token in pairs}
        marks |= {*control.findall(before), *control.findall(after)}
    return marks
