"""Check the turns of a conversation. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from grsap.errors import NotUnicodeError, TurnsError
from grsap.json_text import parse_json

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


def joined_text(messages: Sequence[Message]) -> str:
    """Return the text of all turns, joined by newlines."""
    return "\n".join(message["content"] for message in messages)


def check_messages(
    messages: Any, *, path: str | Path | None = None, line: int | None = None, last: Role = "assistant"
) -> None:
    """Check that `messages` is a list of turns with known roles and text, and ends with role `last`.

    A system turn may come first; user and assistant turns alternate and begin with the user.

    Raises:
        TurnsError: names the turn and what is wrong with it.
    """

    def fail(problem: str, remedy: str) -> TurnsError:
        return TurnsError(problem, remedy, path=path, line=line)

    if not isinstance(messages, list) or not messages:
        raise fail("messages is not a list of turns", 'Give [{"role": "user", "content": "..."}, ...]')
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise fail(
                f"turn {number} must have exactly the keys role and content{_keys(message)}", _key_remedy(message)
            )
        if message["role"] not in ROLES:
            raise fail(f"turn {number} has the unknown role {message['role']!r}", f"Use one of {', '.join(ROLES)}")
        if not isinstance(message["content"], str) or not message["content"].strip():
            raise fail(f"turn {number} ({message['role']}) has no text", "Fill or remove the row")
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if [m["role"] for m in messages][1:].count("system"):
        raise fail("a system turn follows another turn", "Put it first")
    expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
    if turns != expected:
        raise fail(f"roles are {', '.join(turns) or 'empty'}", "User and assistant turns must alternate, user first")
    if not turns or turns[-1] != last:
        raise fail(f"the last turn is not {last}", f"End the conversation with a turn of role {last}")


def _keys(message: Any) -> str:
    return f"; it has {', '.join(map(str, message))}" if isinstance(message, dict) and message else ""


def _key_remedy(message: Any) -> str:
    if isinstance(message, dict) and {"from", "value"} <= set(message):
        return "Rename from to role (human is user, gpt is assistant) and value to content"
    return "Remove or rename the others: tools, names and weights of turns are not trained"


def read_messages(
    value: Any, *, path: str | Path | None = None, line: int | None = None, last: Role = "assistant"
) -> list[Message]:
    """Read and check the turns of a row in a file; returns plain `{role, content}`.

    Keys whose value is null are dropped (in Parquet each turn has the keys of all turns), content in parts of text is
    joined, and turns that are one string of JSON, as in CSV files, are parsed.

    Raises:
        TurnsError: names the turn and what is wrong with it.
        NotUnicodeError: a turn contains a lone surrogate.
    """
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise TurnsError(
                f"messages is a string that is not JSON ({error})",
                'Write [{"role": "user", "content": "..."}, ...]',
                path=path,
                line=line,
            ) from error
    if isinstance(value, list):
        value = [_read_turn(turn, number, path, line) for number, turn in enumerate(value, 1)]
    check_messages(value, path=path, line=line, last=last)
    check_unicode(value, path=path, line=line)
    messages: list[Message] = value
    return messages


def _read_turn(turn: Any, number: int, path: str | Path | None, line: int | None) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    found = {key: value for key, value in turn.items() if value is not None}
    parts = found.get("content")
    if not isinstance(parts, list):
        return found
    texts = []
    for part in parts:
        part = {key: value for key, value in part.items() if value is not None} if isinstance(part, Mapping) else part
        is_text = isinstance(part, dict) and set(part) == {"type", "text"} and part["type"] == "text"
        if not is_text or not isinstance(part["text"], str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise TurnsError(
                f"turn {number} ({found.get('role')}) has a part of type {kind}, which is not supported",
                'Use only parts {"type": "text", "text": "..."}, or write the content as one string',
                path=path,
                line=line,
            )
        texts.append(part["text"])
    return {**found, "content": "".join(texts)}


def check_unicode(messages: Sequence[Message], *, path: str | Path | None = None, line: int | None = None) -> None:
    """Raise NotUnicodeError if a turn contains a lone surrogate, which JSON can escape but UTF-8 cannot encode."""
    for number, message in enumerate(messages, 1):
        check_text(message["content"], f"turn {number} ({message['role']})", path=path, line=line)


def check_text(text: str, name: str, *, path: str | Path | None = None, line: int | None = None) -> None:
    """Raise NotUnicodeError if a text contains a lone surrogate; `name` names the text in the error."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotUnicodeError(
            f"{name} holds half of a surrogate pair (\\u{ord(text[error.start]):04x}), which is not a character",
            "Write the whole character, or remove it",
            path=path,
            line=line,
        ) from error
