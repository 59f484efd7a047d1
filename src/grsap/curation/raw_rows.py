"""The rows of a curation's input: checked once, then read from disk one by one on access."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from grsap.errors import DataError
from grsap.files import hash_file, hash_json, user_path
from grsap.json_text import parse_json
from grsap.records import Message, SafetyRecord, bounded_lines, parse_line

_STAND_IN = "(no text)"

LABELS: dict[str, tuple[Any, ...]] = {
    "prompt_harmful": (None, False, True),
    "response_harmful": (None, False, True),
    "response_refusal": (None, False, True),
    "behaviour": (None, "refusal", "safe_explanation", "benign_answer"),
    "difficulty": (None, "easy", "hard"),
}
"""The labels of a row that a filter may set, with their values; a label's code is an index, 0 is unknown."""


class RawRows:
    """Safety records of a folder's `.jsonl` files, in the order of their names, or of one file. Texts may be null.

    Rows are numbered in the order of their ids. Only id, domain, labels and position of each row are in memory.

    Args:
        path: the folder or file.

    Attributes:
        path: the resolved folder or file.
        ids: ids by row number.
        domains: distinct names of domains.
        domain_of: (N,) indices into `domains`.
        label_codes: (N, number of `LABELS`) labels in the file, as codes of `LABELS`.
        file_order: (N,) row numbers in the order of the files.
        files: `{num_rows, hash}` by file name.
        hash: hash of all files.

    Raises:
        DataError: the path does not exist, there is no row, a line is not a row, or an id occurs twice; names file and
            line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path)
        self.files: dict[str, dict[str, Any]] = {}
        self._paths = _files(self.path)
        ids: list[str] = []
        domains: dict[str, int] = {}
        domain_of: list[int] = []
        codes: list[tuple[int, ...]] = []
        places: list[tuple[int, int, int]] = []
        for number, file in enumerate(self._paths):
            for offset, length, record in self._scan(file):
                ids.append(record.id)
                domain_of.append(domains.setdefault(record.domain, len(domains)))
                places.append((number, offset, length))
                codes.append(tuple(values.index(getattr(record, name)) for name, values in LABELS.items()))
        if not ids:
            raise DataError("no row in it", "Give the --output_dir of grsap synthesize, or a .jsonl file", path=path)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self.ids = [ids[index] for index in order]
        self.domains = list(domains)
        self.domain_of = np.array(domain_of, np.int32)[order]
        self.label_codes = np.array(codes, np.int8)[order]
        self._places = np.array(places, np.int64)[order]
        self.file_order = np.argsort(np.array(order))
        self.hash = hash_json(self.files)
        self._check_unique()

    def __len__(self) -> int:
        return len(self.ids)

    def raw(self, number: int) -> dict[str, Any]:
        """Return the row as it is in its file."""
        file, offset, length = self._places[number]
        with self._paths[file].open("rb") as handle:
            handle.seek(offset)
            try:
                row: dict[str, Any] = parse_json(handle.read(length).decode())
            except ValueError as error:
                raise _changed(self._paths[file]) from error
        return row

    def record(self, number: int) -> SafetyRecord:
        """Return the row; a null text is empty."""
        return read_raw(self.raw(number))

    def check_unchanged(self) -> None:
        """Raise DataError if a file was changed since it was scanned."""
        for path in self._paths:
            if hash_file(path) != self.files[path.name]["hash"]:
                raise _changed(path)

    def _scan(self, path: Path) -> Iterator[tuple[int, int, SafetyRecord]]:
        """Yield (offset, length in bytes, row) of each line, and hash the file in the same pass."""
        digest = hashlib.sha256()
        offset = num_rows = 0
        try:
            with path.open("rb") as file:
                for line, raw in enumerate(bounded_lines(file), 1):
                    digest.update(raw)
                    if raw.strip():
                        yield offset, len(raw), _parse(raw, path, line)
                        num_rows += 1
                    offset += len(raw)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", "Restore the file", path=path) from error
        self.files[path.name] = {"num_rows": num_rows, "hash": digest.hexdigest()[:16]}

    def _check_unique(self) -> None:
        for before, after in zip(self.ids, self.ids[1:], strict=False):
            if before == after:
                raise DataError(f"the id {after!r} occurs twice", "Give each row its own id", path=self.path)


def read_raw(row: Mapping[str, Any], *, path: Path | None = None, line: int | None = None) -> SafetyRecord:
    """Read a record whose texts may be null or blank; these become empty.

    Raises:
        DataError: the row is wrong in another way.
    """
    messages: Any = row.get("messages")
    blank = [_is_blank(message) for message in messages] if isinstance(messages, list) else []
    if not any(blank):
        return SafetyRecord.from_dict(row, path=path, line=line)
    filled = [
        {**each, "content": _STAND_IN} if is_blank else each for each, is_blank in zip(messages, blank, strict=True)
    ]
    record = SafetyRecord.from_dict({**row, "messages": filled}, path=path, line=line)
    empty: list[Message] = [
        {**each, "content": ""} if is_blank else each for each, is_blank in zip(record.messages, blank, strict=True)
    ]
    return replace(record, messages=empty)


def _is_blank(message: Any) -> bool:
    if not isinstance(message, dict) or "content" not in message:
        return False
    content = message["content"]
    return content is None or (isinstance(content, str) and not content.strip())


def _parse(raw: bytes, path: Path, line: int) -> SafetyRecord:
    try:
        row = parse_line(raw, path, line)
    except DataError as error:
        if raw.endswith(b"\n"):
            raise
        raise DataError(
            "an incomplete line", "Let grsap synthesize finish it, or remove the line", path=path, line=line
        ) from error
    return read_raw(row, path=path, line=line)


def _changed(path: Path) -> DataError:
    return DataError("was changed while it was read", "Start again when nothing writes to it", path=path)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError("no such file or folder", "Give the --output_dir of grsap synthesize as --input", path=path)
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise DataError("no .jsonl file in it", "Give the --output_dir of grsap synthesize as --input", path=path)
    return files
