"""JSON with a checksum, so that changed bytes on disk are detected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grsap.appending import json_line
from grsap.errors import DataError
from grsap.files import hash_bytes, write_json
from grsap.json_text import read_json
from grsap.records import parse_line

CHECKSUM = "checksum"
"""Key of the first 16 hex digits of SHA-256 of the other keys, as ASCII JSON with sorted keys."""


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the object with its checksum as the last key."""
    return {**value, CHECKSUM: _hash(json.loads(json.dumps(value)))}  # hash the values that a reader will get


def is_whole(value: Mapping[str, Any]) -> bool:
    """Return whether an object from a file has the right checksum."""
    return value.get(CHECKSUM) == _hash({key: child for key, child in value.items() if key != CHECKSUM})


def checked_line(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object with its checksum as a line."""
    return json_line(with_checksum(value))


def parse_checked_line(raw: bytes, path: Path, line: int | None = None) -> dict[str, Any]:
    """Return the object on a line of `checked_line`, without its checksum.

    Raises:
        DataError: the line was changed since it was written.
    """
    value = parse_line(raw, path, line)
    if not is_whole(value):
        raise DataError(
            "is damaged: its checksum does not match",
            "Restore the file, or delete this line and all after it: they are computed again",
            path=path,
            line=line,
        )
    del value[CHECKSUM]
    return value


def write_checked_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write an object with its checksum as indented JSON, atomically."""
    write_json(path, with_checksum(value))


def read_checked_json(path: str | Path) -> dict[str, Any] | None:
    """Return the object in a file, without its checksum; None if there is no such file.

    Raises:
        DataError: the file was changed or truncated since it was written.
    """
    try:
        value = read_json(Path(path))
    except FileNotFoundError:
        return None
    except ValueError:
        value = None
    if not isinstance(value, dict) or not is_whole(value):
        raise DataError("is damaged: its checksum does not match", "Restore the file, or delete it", path=path)
    del value[CHECKSUM]
    return value


def _hash(value: Mapping[str, Any]) -> str:
    """Return the hash of an object that was read from JSON."""
    return hash_bytes(json.dumps(value, sort_keys=True).encode())
