"""Files that survive a crash: atomic writes, hashes and locks."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import BaseFileLock, FileLock, Timeout

from grsap.disk import writing
from grsap.errors import DataError, RunFolderError
from grsap.secure_open import create_file, open_appending, temporary_path

MAX_PATH, MAX_NAME = 4096, 255
"""Linux's limits in bytes of a path, and of each of its parts."""


def user_path(path: str | Path) -> Path:
    """Return the path of a setting with `~` expanded.

    Raises:
        DataError: no file can have such a path; system calls would fail with errors that do not name it.
    """
    text = str(path)
    if not text:
        raise DataError("a path is empty", "Give a path, or null for none")
    if "\0" in text:
        raise DataError(f"the path {text!r} contains a NUL character", "Remove it")
    parts = [os.fsencode(part) for part in text.split("/")]
    if len(os.fsencode(text)) >= MAX_PATH or max(map(len, parts)) > MAX_NAME:
        raise DataError(f"the path {text[:60]}... is too long", f"Give one whose names have at most {MAX_NAME} bytes")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{text}: no such home folder", "Write the path without ~") from error


def fsync_dir(path: Path) -> None:
    """Make renames inside the folder `path` durable; does nothing on Windows, which has no call for it."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str | Path, data: str | bytes, *, mode: int = 0o644) -> None:
    """Write a complete file or nothing: temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; names the file.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path, mode=mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


class _NamedWriter(io.BufferedWriter):
    """A file whose errors name `path`, its final path."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(io.FileIO(descriptor, "wb"))
        self._path = path

    def write(self, data: Any) -> int:
        with writing(self._path):
            return super().write(data)

    def flush(self) -> None:
        with writing(self._path):
            super().flush()

    def close(self) -> None:
        with writing(self._path):
            super().close()


@contextmanager
def atomic_writer(path: str | Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at `path` when the block ends without an error.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; names the file.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        with writing(path):
            file = _NamedWriter(create_file(temporary, mode), path)
        with file:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
        with writing(path):
            os.replace(temporary, path)
            fsync_dir(path.parent)
    finally:
        with suppress(OSError):  # a file system that became read-only must not hide the first error
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Mapping[str, Any] | Sequence[Any], *, mode: int = 0o644) -> None:
    """Write `value` as indented JSON, atomically; raises ValueError for NaN and infinity, which are not JSON."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode=mode)


def write_dir_atomic(path: str | Path, fill: Callable[[Path], None]) -> None:
    """Write a complete folder or nothing: `fill` writes to a temporary sibling, which is then renamed to `path`.

    An existing folder is replaced.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; names the folder.
    """
    path = Path(path)
    temporary = temporary_path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            fill(temporary)
            publish_dir(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def publish_dir(temporary: Path, path: Path) -> None:
    """Rename a folder to its final name once its files are on disk; replaces an existing folder."""
    for file in sorted(temporary.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        elif file.is_dir():
            fsync_dir(file)
    fsync_dir(temporary)
    old = temporary_path(path, "old")
    if path.exists():
        os.replace(path, old)
    os.replace(temporary, path)
    fsync_dir(path.parent)
    if old.is_symlink():
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)


SET_ASIDE = "set_aside"
"""Folder for files that are moved instead of being deleted or overwritten."""


def set_aside(paths: Sequence[Path]) -> Path:
    """Move files and folders of one folder to `set_aside/N/` beside them, with the first free number N.

    Returns:
        The new folder.

    Raises:
        RunFolderError: they cannot be moved.
    """
    parent = paths[0].parent
    with writing(parent / SET_ASIDE):
        (parent / SET_ASIDE).mkdir(exist_ok=True)
        for number in itertools.count(1):
            place = parent / SET_ASIDE / str(number)
            with suppress(FileExistsError):
                place.mkdir()
                break
        for path in paths:
            os.replace(path, place / path.name)
        fsync_dir(place)
        fsync_dir(place.parent)
        fsync_dir(parent)
    return place


def hash_bytes(data: bytes) -> str:
    """Return the first 16 hex digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def hash_json(value: Any) -> str:
    """Return the hash of a JSON value; it does not depend on the order of keys."""
    return hash_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass"))


def hash_file(path: str | Path) -> str:
    """Return the hash of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it inside the block; the system releases it if the process dies."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(open_appending(path, 0o600))  # raises for links and devices
    with FileLock(path):
        yield


LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.\d+\.(tmp|old)")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of killed processes below a folder that this process has locked.

    Subfolders with a lock file are skipped, because another process may use them.
    """
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if _TEMPORARY.fullmatch(name):
                entry = Path(parent, name)
                shutil.rmtree(entry) if name in folders else entry.unlink()
        kept = [name for name in folders if not _TEMPORARY.fullmatch(name)]
        folders[:] = [name for name in kept if not Path(parent, name, LOCK).exists()]


@contextmanager
def folder_lock(folder: str | Path, setting: str = "run_dir") -> Iterator[None]:
    """Lock `folder` inside the block; the system releases the lock if the process dies.

    If the block writes no files, the lock file and folders that were created for it are removed.

    Args:
        folder: created if it is missing.
        setting: the option that names the folder, for errors.

    Raises:
        RunFolderError: another process has locked it, or the folder cannot be written.
    """
    folder = Path(folder)
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        lock = _hold(folder, setting)
    except OSError as error:
        raise RunFolderError(
            f"{setting} {folder} cannot be written: {error.strerror}", f"Choose another with --{setting}"
        ) from error
    try:
        yield
    finally:
        _remove_unused(folder, missing)
        lock.release()


def _hold(folder: Path, setting: str) -> BaseFileLock:
    """Create and lock the lock file, and write the process id to it."""
    path = folder / LOCK
    lock = FileLock(path, blocking=False)
    for _ in range(100):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.close(open_appending(path, 0o644))  # raises for links and devices
            lock.acquire()
        except FileNotFoundError:
            continue
        except Timeout as error:
            if not path.exists():  # the other process removed it between opening and locking
                continue
            raise RunFolderError(
                f"{setting} {folder} is in use by process {_owner(path)}",
                f"Wait until it ends, or choose another folder with --{setting}",
            ) from error
        with suppress(PermissionError), os.fdopen(open_appending(path, 0o644), "a") as file:
            file.truncate(0)  # Windows permits neither while the file is locked
            file.write(f"{os.getpid()}\n")
        return lock
    raise RunFolderError(f"{setting} {folder} is removed repeatedly by others", f"Choose another with --{setting}")


def _owner(lock: Path) -> str:
    with suppress(OSError):
        return lock.read_text(encoding="utf-8", errors="replace")[:20].strip() or "unknown"
    return "unknown"


def _remove_unused(folder: Path, missing: Sequence[Path]) -> None:
    """Remove the lock file from an otherwise empty folder, and the folders that were missing before."""
    try:
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            for each in missing:
                each.rmdir()
    except OSError:  # another process writes to it, or removed it
        return
