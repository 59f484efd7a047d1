"""Open files in shared folders without following links that others may have planted. Standard library only."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))  # not all systems have all


def temporary_path(path: Path, ending: str = "tmp") -> Path:
    """Return a hidden sibling of `path` with a random number in its name, which nobody can create in advance."""
    return path.with_name(f".{path.name}.{secrets.randbits(64)}.{ending}")


def create_file(path: Path, mode: int) -> int:
    """Create a file and return its descriptor, open for writing.

    Raises:
        FileExistsError: `path` exists, even as a dangling link.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)


def open_appending(path: Path, mode: int) -> int:
    """Open a file for reading and appending, and return its descriptor; it is created if it is missing.

    Raises:
        OSError: `path` is a symbolic link or not a regular file. A device or pipe would lose the data, or block.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | _FLAGS
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor
