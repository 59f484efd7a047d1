"""Row types that all stages read and write, and their JSONL. Standard library only."""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from grsap.errors import DataError
from grsap.files import hash_json, write_atomic
from grsap.json_text import MAX_BYTES, parse_json
from grsap.labels import check_choice, read_label
from grsap.turns import Message as Message
from grsap.turns import Role as Role
from grsap.turns import check_messages as check_messages
from grsap.turns import check_text as check_text
from grsap.turns import check_unicode as check_unicode
from grsap.turns import joined_text as joined_text
from grsap.turns import read_messages as read_messages

Source = Literal["task", "replay"]
Split = Literal["train", "validation", "test"]
Behaviour = Literal["refusal", "safe_explanation", "benign_answer"]
Difficulty = Literal["easy", "hard"]
ProbeSubset = Literal["harmful", "twin", "ordinary"]

SAFETY_SCHEMA = "grsap.safety/1"
LABEL_NAMES = ("prompt_harmful", "response_harmful", "response_refusal")
CHOICES: dict[str, tuple[str, ...]] = {
    "behaviour": get_args(Behaviour),
    "difficulty": get_args(Difficulty),
    "finish_reason": ("stop", "length"),
}
"""Values that a key of a safety row may have, besides null."""
GZIP_START = b"\x1f\x8b"


class PlacedRow(dict[str, Any]):
    """A row with its file and line, for errors about it.

    Args:
        values: column -> value.
        path: the file, or the name of the data set.
        line: line of the file or number of the row, from 1.
    """

    def __init__(self, values: Mapping[str, Any], path: str | Path, line: int) -> None:
        super().__init__(values)
        self.path = path
        self.line = line

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacedRow, (dict(self), self.path, self.line)


def place_of_row(row: Mapping[str, Any], path: str | Path, number: int) -> tuple[str | Path, int]:
    """Return file and line of a `PlacedRow`; for other rows `path` and `number`."""
    return (row.path, row.line) if isinstance(row, PlacedRow) else (path, number)


@dataclass(frozen=True)
class JudgeInfo:
    """The judge that labelled a row."""

    name: str
    revision: str = ""


@dataclass(frozen=True)
class Origin:
    """Origin of a row: the model that wrote it, the strategy and the seed."""

    model: str
    revision: str = ""
    template_hash: str = ""
    strategy: str = ""
    seed: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class SafetyRecord:
    """One safety conversation, from synthesis to replay. Only `messages` contains text.

    Labels are True, False or None (unknown or unparsed). `history` lists the changes to the row since it was written,
    without text.
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
        """Return the row as in a file; `history` only if it is not empty."""
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
        _check_values(values, path, line)
        for name in LABEL_NAMES:
            values[name] = read_label(values.get(name), name, path=path, line=line)
        try:
            if isinstance(values.get("judge"), dict):
                values["judge"] = JudgeInfo(**values["judge"])
            if isinstance(values.get("origin"), dict):
                values["origin"] = Origin(**values["origin"])
            return cls(**values)
        except TypeError as error:
            reason = str(error).replace(".__init__()", "")
            raise DataError(reason, "See docs/formats.md for the keys of a safety row", path=path, line=line) from error


def _check_values(values: dict[str, Any], path: str | Path | None, line: int | None) -> None:
    """Raise DataError if a key of a safety row other than its messages and labels has a value of another type."""
    if not isinstance(values.get("id"), str) or not values["id"]:
        raise DataError(f"id is {values.get('id')!r}", "Give each row a text as id", path=path, line=line)
    check_text(values["id"], "id", path=path, line=line)
    if isinstance(values.get("domain"), str):
        check_text(values["domain"], "domain", path=path, line=line)
    for name, allowed in CHOICES.items():
        check_choice(values.get(name), name, allowed, path=path, line=line)
    scores = values.get("scores", {})
    if isinstance(scores, dict):  # in Parquet each row has the score names of all rows
        values["scores"] = scores = {name: value for name, value in scores.items() if value is not None}
    is_right = {
        "domain": isinstance(values.get("domain", ""), str),
        "judge": isinstance(values.get("judge"), dict | None),
        "origin": isinstance(values.get("origin"), dict | None),
        "parent_id": isinstance(values.get("parent_id"), str | None),
        "scores": isinstance(scores, dict) and all(_is_number(value) for value in scores.values()),
        "history": isinstance(values.get("history", []), list),
    }
    for name, right in is_right.items():
        if not right:
            raise DataError(
                f"{name} is {values[name]!r}",
                "See docs/formats.md for the values of a safety row",
                path=path,
                line=line,
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Probe:
    """A prompt of checks and evaluations; a harmful prompt and its benign twin share a `pair_id`."""

    id: str
    messages: list[Message]
    domain: str
    subset: ProbeSubset
    pair_id: str | None = None

    @property
    def prompt_harmful(self) -> bool:
        """Whether the right answer is a refusal."""
        return self.subset == "harmful"


def read_probes(path: str | Path) -> list[Probe]:
    """Read a probe file: JSONL rows `{id, messages, domain, subset, pair_id}`.

    Raises:
        DataError: names the file and line of the first wrong row.
    """
    return probes_of(read_jsonl(path), path)


def probes_of(rows: Iterable[tuple[int, Mapping[str, Any]]], place: str | Path) -> list[Probe]:
    """Read probes from numbered rows `{id, messages, domain, subset, pair_id}`; required are `messages` and `subset`.

    Args:
        rows: (number, row). An answer at the end of `messages` is ignored.
        place: file or data set of the rows, for errors.

    Raises:
        DataError: a row is wrong, which is named by its number, or there are no rows.
    """
    probes: list[Probe] = []
    for line, row in rows:
        messages = row.get("messages")
        answered = isinstance(messages, list) and messages and _role(messages[-1]) == "assistant"
        turns = read_messages(messages, path=place, line=line, last="assistant" if answered else "user")
        turns = turns[:-1] if answered else turns
        if row.get("subset") not in ("harmful", "twin", "ordinary"):
            raise DataError(f"subset is {row.get('subset')!r}", "Use harmful, twin or ordinary", path=place, line=line)
        texts = {name: str(row[name]) for name in ("id", "domain", "pair_id") if row.get(name) not in (None, "")}
        for name, text in texts.items():
            check_text(text, name, path=place, line=line)
        probes.append(
            Probe(
                id=texts.get("id") or hash_json(turns),
                messages=turns,
                domain=texts.get("domain", ""),
                subset=row["subset"],
                pair_id=texts.get("pair_id"),
            )
        )
    if not probes:
        raise DataError("contains no probes", "Give at least one row", path=place)
    return probes


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each non-empty line; a byte-order mark is skipped.

    Raises:
        DataError: the file is missing, or a line is not a JSON object that `parse_json` accepts.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", "Check the path; it is taken from the working directory", path=path)
    with path.open("rb") as file:
        for line, raw in enumerate(bounded_lines(file), 1):
            if raw.strip():
                yield line, parse_line(raw, path, line)


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; stops after the beginning of a line that is too long for `parse_line`."""
    while raw := file.readline(MAX_BYTES + 1):
        yield raw
        if len(raw) > MAX_BYTES:
            return


def parse_line(raw: bytes, path: str | Path, line: int | None) -> dict[str, Any]:
    """Return the object on one line of a JSONL file; raises DataError if it is not an object."""
    if line == 1:
        raw = raw.removeprefix(BOM_UTF8)
    try:
        row = parse_json(raw.decode().strip())
    except UnicodeDecodeError as error:
        remedy = "Unpack it first" if raw.startswith(GZIP_START) else "Save the file as UTF-8"
        problem = "gzip-compressed" if raw.startswith(GZIP_START) else "not UTF-8"
        raise DataError(problem, remedy, path=path, line=line) from error
    except ValueError as error:
        raise DataError(f"not JSON ({error})", "Write one JSON object a line", path=path, line=line) from error
    if not isinstance(row, dict):
        raise DataError(f"a {type(row).__name__}, not an object", "Write one JSON object a line", path=path, line=line)
    return row


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]], *, mode: int = 0o644) -> None:
    """Write rows as JSONL, atomically."""
    write_atomic(path, "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), mode=mode)
