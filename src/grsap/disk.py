"""Turn errors of disks and file systems into errors with file and remedy. Standard library only."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grsap.errors import RunFolderError, user_error_within

_SPACE = "Free some space, then give the same command again"
_RIGHTS = "Check the permissions of the file and of its folder"
_PATH = "Choose another path"
_HARDWARE = "Check the disk or the network file system, then give the same command again"
_REMEDIES = {
    "ENOSPC": _SPACE,
    "EDQUOT": _SPACE,
    "EFBIG": "Raise the limit on file sizes (ulimit -f), then give the same command again",
    "EROFS": "Choose a folder on a writable file system",
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "ENOTDIR": _PATH,
    "EISDIR": _PATH,
    "EEXIST": _PATH,
    "ELOOP": _PATH,
    "ENAMETOOLONG": _PATH,
    "EIO": _HARDWARE,
    "ESTALE": _HARDWARE,
    "ENXIO": _HARDWARE,
    "ENODEV": _HARDWARE,
    "ENOTCONN": _HARDWARE,
    "EREMOTEIO": _HARDWARE,
    "EMFILE": "Raise the limit on open files (ulimit -n)",
    "ENFILE": "Close other programs: the machine has too many open files",
}
REMEDIES = {getattr(errno, name): remedy for name, remedy in _REMEDIES.items() if hasattr(errno, name)}
"""Number of an error with a cause outside the program -> remedy; without those that this system lacks."""

_WITHOUT_NAME = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ESTALE")}
"""Errors that only files raise, not sockets or devices."""

_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
_TORCH_WRITER = re.compile(r"PytorchStreamWriter failed writing|inline_container\.cc:\d+\] \. unexpected pos")


def disk_error(error: BaseException, path: str | Path | None = None, action: str = "written") -> RunFolderError | None:
    """Return the error to report if `error` comes from the disk or file system, otherwise None.

    Args:
        error: as caught. Its causes are searched too: libraries wrap such errors, and those written in Rust
            (safetensors, tokenizers) or C++ (torch) raise exceptions that are not OSErrors.
        path: the file; by default the one that the error names.
        action: `written`, `read`, or both, for the message.
    """
    seen: BaseException | None = error
    while seen is not None:
        number = _number(seen)
        if number in REMEDIES:
            name = path or getattr(seen, "filename", None) or ("a file" if number in _WITHOUT_NAME else None)
            if name is not None:
                return RunFolderError(f"{name} cannot be {action}: {os.strerror(number)}", REMEDIES[number])
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


@contextmanager
def writing(path: str | Path, action: str = "written") -> Iterator[None]:
    """Write `path` inside the block: errors of disk and file system name it.

    Raises:
        RunFolderError: disk full, no permission, input/output error and the like.
    """
    try:
        yield
    except Exception as error:
        found = None if user_error_within(error) else disk_error(error, path, action)
        if found is None:
            raise
        raise found from error


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Read `path` inside the block; temporary errors differ from those of a missing file.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError: there is no file at `path`.
        RunFolderError: the file exists but cannot be read now: input/output error, no permission, stale handle.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
        raise RunFolderError(problem, REMEDIES.get(error.errno or 0, _HARDWARE)) from error


def _number(error: BaseException) -> int:
    """Return the errno of an operating-system error; 0 for other errors."""
    if isinstance(error, OSError):
        return error.errno or 0
    text = str(error)
    if _TORCH_WRITER.search(text):
        return errno.ENOSPC  # torch gives no reason; a full disk is the most common one
    found = _RUST_ERROR.search(text)
    return int(found[1]) if found else 0
