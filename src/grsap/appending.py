"""Append-only files of whole pieces; a crash loses at most the last piece. Standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from grsap.errors import RunFolderError
from grsap.files import fsync_dir
from grsap.secure_open import open_appending

_BLOCK = 1 << 16


def json_line(value: Mapping[str, Any]) -> bytes:
    """A JSON object as a line of UTF-8. A lone surrogate, which a tokenizer's bytes can make, becomes an escape.

    Raises:
        ValueError: a number is NaN or infinite: the line could not be read back.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def whole_lines_length(path: Path) -> int:
    """Bytes of a file up to the end of its last whole line of JSON; only its end is read."""
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
            return start  # after a power cut a file's size may be on disk before its bytes
        return end


def _last_newline(file: BinaryIO, before: int) -> int:
    """Position after the last newline in the first `before` bytes; 0 if there is none."""
    while before > 0:
        start = max(0, before - _BLOCK)
        file.seek(start)
        place = file.read(before - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        before = start
    return 0


class AppendFile:
    """An append-only file of whole pieces; each is on disk when `append` returns.

    Opening it removes the end that a killed process left half-written.

    Args:
        path: is made if it is missing.
        whole: gives the bytes up to the end of the last whole piece of an existing file; by default for JSON lines.
        mode: of a file that is made.

    Attributes:
        size_bytes: of the file.
        num_repaired_bytes: half-written bytes that were removed.

    Raises:
        RunFolderError: it cannot be written.
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

    def append(self, piece: bytes) -> None:
        """Append a piece and wait until it is on disk. If that fails, the file is unchanged.

        Raises:
            RunFolderError: the disk is full or gone.
        """
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # otherwise the next call removes the partial piece
                os.ftruncate(self._descriptor, self.size_bytes)
            raise _cannot_write(self.path, error) from error
        self.size_bytes += len(piece)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> AppendFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cannot_write(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{path} cannot be written: {error.strerror}",
        "Free space or repair the folder, then give the same command again: what is done is kept",
    )
