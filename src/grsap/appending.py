"""Append-only files; a crash loses at most the record being written. Standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from grsap.errors import RunFolderError
from grsap.files import fsync_dir
from grsap.secure_open import open_appending

_BLOCK = 1 << 16


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as a line of UTF-8. A lone surrogate, as tokenizers can produce, is written as an escape.

    Raises:
        ValueError: a number is NaN or infinite, which the reader would reject.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def whole_lines_length(path: Path) -> int:
    """Return the bytes up to the end of the last complete line of JSON; reads only the end of the file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end = _last_newline(file, size)
        if end < size:
            return end
        start = _last_newline(file, max(end - 1, 0))
        file.seek(start)
        try:
            json.loads(file.read(end - start) or b"0")
        except (ValueError, RecursionError):
            return start  # after a power failure the file's size may be on disk without its bytes
        return end


def _last_newline(file: BinaryIO, before: int) -> int:
    """Return the position after the last newline in the first `before` bytes; 0 if there is none."""
    while before > 0:
        start = max(0, before - _BLOCK)
        file.seek(start)
        place = file.read(before - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        before = start
    return 0


class AppendFile:
    """An append-only file of records; each record is on disk when `append` returns.

    Opening it removes an incomplete record at the end, which a killed process may have left.

    Args:
        path: created if it is missing.
        whole: returns the bytes of an existing file up to the end of its last complete record; by default a JSON line.
        mode: permissions of a new file.

    Attributes:
        size_bytes: size of the file.
        num_repaired_bytes: bytes of the incomplete record that was removed.

    Raises:
        RunFolderError: the file cannot be written.
    """

    def __init__(self, path: str | Path, whole: Callable[[Path], int] = whole_lines_length, mode: int = 0o600) -> None:
        self.path = Path(path)
        self.num_repaired_bytes = 0
        try:
            is_new = not self.path.exists()
            self._descriptor = open_appending(self.path, mode)
            self.size_bytes = 0 if is_new else whole(self.path)
            self.num_repaired_bytes = os.fstat(self._descriptor).st_size - self.size_bytes
            if self.num_repaired_bytes:
                os.ftruncate(self._descriptor, self.size_bytes)
            os.fsync(self._descriptor)
            if is_new:
                fsync_dir(self.path.parent)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def append(self, record: bytes) -> None:
        """Append a record and wait until it is on disk. If that fails, the file is unchanged.

        Raises:
            RunFolderError: the disk is full or not available.
        """
        try:
            rest = memoryview(record)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # if this fails too, the next call removes the incomplete record
                os.ftruncate(self._descriptor, self.size_bytes)
            raise _cannot_write(self.path, error) from error
        self.size_bytes += len(record)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> AppendFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _cannot_write(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{path} cannot be written: {error.strerror}",
        "Free space or repair the folder, then give the same command again: finished work is kept",
    )
