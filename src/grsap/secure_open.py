"""Opening files in shared folders without following planted links. Standard library only."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))  # as far as the system has them


def temporary_path(path: Path, ending: str = "tmp") -> Path:
    """A hidden sibling of `path` with a random number in its name, which nobody can create beforehand."""
    return path.with_name(f".{path.name}.{secrets.randbits(64)}.{ending}")


def create_file(path: Path, mode: int) -> int:
    """Create a file and return its descriptor, open for writing.

    Raises:
        FileExistsError: something is at `path` already, even a dangling link.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)


def open_appending(path: Path, mode: int) -> int:
    """Open a file for reading and for writing at its end, and return its descriptor; it is created if it is missing.

    Raises:
        OSError: `path` is a symbolic link or no regular file. A device or pipe would lose what is written, or block.
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
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor
