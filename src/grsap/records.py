"""The row types that every stage reads and writes, and their JSONL. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from grsap.errors import DataError
from grsap.files import hash_json, write_atomic

Role = Literal["system", "user", "assistant"]
Source = Literal["task", "replay"]
Split = Literal["train", "validation", "test"]
Behaviour = Literal["refusal", "safe_explanation", "benign_answer"]
Difficulty = Literal["easy", "hard"]
ProbeSubset = Literal["harmful", "twin", "ordinary"]

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
SAFETY_SCHEMA = "grsap.safety/1"


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class JudgeInfo:
    """Who gave the labels of a row."""

    name: str
    revision: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a row comes from: the model that wrote it, how, and from which seed."""

    model: str
    revision: str = ""
    template_hash: str = ""
    strategy: str = ""
    seed: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class SafetyRecord:
    """One safety conversation, from synthesis to replay. `messages` is the only place of text.

    Labels are True, False or None, which means unknown or unparsed. `history` says what was done to the row since it
    was written, without any text.
    """

    id: str
    messages: list[Message]
    domain: str
    behaviour: Behaviour | None = None
    difficulty: Difficulty | None = None
    prompt_harmful: bool | None = None
    response_harmful: bool | None = None
    response_refusal: bool | None = None
    judge: JudgeInfo | None = None
    finish_reason: Literal["stop", "length"] | None = None
    origin: Origin | None = None
    parent_id: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The row as it stands in the file; `history` only where there is one."""
        values = asdict(self)
        if not self.history:
            del values["history"]
        return {"schema": SAFETY_SCHEMA, **values}

    @classmethod
    def from_dict(
        cls, row: Mapping[str, Any], *, path: str | Path | None = None, line: int | None = None
    ) -> SafetyRecord:
        """Read a row of schema `grsap.safety/1`.

        Raises:
            DataError: another schema, an unknown key, a missing key, or wrong messages; names file and line.
        """
        values = dict(row)
        schema = values.pop("schema", None)
        if schema != SAFETY_SCHEMA:
            raise DataError(
                f"schema is {schema!r}, not {SAFETY_SCHEMA!r}",
                "Import the file with a column map",
                path=path,
                line=line,
            )
        check_messages(values.get("messages"), path=path, line=line)
        if not isinstance(values.get("id"), str) or not values["id"]:
            raise DataError(f"id is {values.get('id')!r}", "Give each row a text as id", path=path, line=line)
        try:
            if isinstance(values.get("judge"), dict):
                values["judge"] = JudgeInfo(**values["judge"])
            if isinstance(values.get("origin"), dict):
                values["origin"] = Origin(**values["origin"])
            return cls(**values)
        except TypeError as error:
            reason = str(error).replace(".__init__()", "")
            raise DataError(reason, "See docs/formats.md for the keys of a safety row", path=path, line=line) from error


@dataclass(frozen=True)
class Probe:
    """A prompt that checks and evaluations put to the model; `pair_id` joins a harmful prompt and its benign twin."""

    id: str
    messages: list[Message]
    domain: str
    subset: ProbeSubset
    pair_id: str | None = None

    @property
    def prompt_harmful(self) -> bool:
        """Whether a refusal is the right answer."""
        return self.subset == "harmful"


def read_probes(path: str | Path) -> list[Probe]:
    """Read a probe file: JSONL rows `{id, messages, domain, subset, pair_id}`.

    Raises:
        DataError: names the file and line of the first wrong row.
    """
    return probes_of(read_jsonl(path), path)


def probes_of(rows: Iterable[tuple[int, Mapping[str, Any]]], place: str | Path) -> list[Probe]:
    """Probes from numbered rows `{id, messages, domain, subset, pair_id}`; only `messages` and `subset` must be there.

    Args:
        rows: each with its number. An answer at the end of `messages` is left out.
        place: where the rows come from, for messages.

    Raises:
        DataError: names the place and number of the first wrong row, or says that there is none.
    """
    probes: list[Probe] = []
    for line, row in rows:
        messages = row.get("messages")
        answered = isinstance(messages, list) and messages and _role(messages[-1]) == "assistant"
        check_messages(messages, path=place, line=line, last="assistant" if answered else "user")
        assert isinstance(messages, list)
        messages = messages[:-1] if answered else messages
        if row.get("subset") not in ("harmful", "twin", "ordinary"):
            raise DataError(f"subset is {row.get('subset')!r}", "Use harmful, twin or ordinary", path=place, line=line)
        probes.append(
            Probe(
                id=str(row.get("id") or hash_json(messages)),
                messages=messages,
                domain=str(row.get("domain") or ""),
                subset=row["subset"],
                pair_id=row.get("pair_id"),
            )
        )
    if not probes:
        raise DataError("no probe in it", "Give at least one row", path=place)
    return probes


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def joined_text(messages: Sequence[Message]) -> str:
    """The text of all turns, a line a turn."""
    return "\n".join(message["content"] for message in messages)


def check_messages(
    messages: Any, *, path: str | Path | None = None, line: int | None = None, last: Role = "assistant"
) -> None:
    """Check that `messages` is a list of turns with known roles and text, and ends with role `last`.

    A system turn stands first if at all; user and assistant turns alternate and begin with the user.

    Raises:
        DataError: says what is wrong with which turn.
    """

    def fail(problem: str, remedy: str) -> DataError:
        return DataError(problem, remedy, path=path, line=line)

    if not isinstance(messages, list) or not messages:
        raise fail("messages is not a list of turns", 'Give [{"role": "user", "content": "..."}, ...]')
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise fail(f"turn {number} has not exactly the keys role and content", "Remove or rename the others")
        if message["role"] not in ROLES:
            raise fail(f"turn {number} has the unknown role {message['role']!r}", f"Use one of {', '.join(ROLES)}")
        if not isinstance(message["content"], str) or not message["content"].strip():
            raise fail(f"turn {number} ({message['role']}) has no text", "Fill or remove the row")
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if [m["role"] for m in messages][1:].count("system"):
        raise fail("a system turn stands after the first turn", "Put it first")
    expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
    if turns != expected:
        raise fail(f"roles are {', '.join(turns) or 'empty'}", "User and assistant turns must alternate, user first")
    if not turns or turns[-1] != last:
        raise fail(f"the last turn is not {last}", f"End the conversation with a turn of role {last}")


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each non-empty line.

    Raises:
        DataError: the file is missing or a line is not a JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", "Check the path; it is taken from the working directory", path=path)
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode().strip())
            except UnicodeDecodeError as error:
                raise DataError("not UTF-8", "Save the file as UTF-8", path=path, line=line) from error
            except json.JSONDecodeError as error:
                raise DataError(
                    f"not JSON ({error.msg}, column {error.colno})",
                    "Write one JSON object a line",
                    path=path,
                    line=line,
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"a {type(row).__name__}, not an object", "Write one JSON object a line", path=path, line=line
                )
            yield line, row


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]], *, mode: int = 0o644) -> None:
    """Write rows as JSONL, atomically."""
    write_atomic(path, "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), mode=mode)
