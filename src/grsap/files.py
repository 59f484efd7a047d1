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
    """The path of a setting, with `~` expanded.

    Raises:
        DataError: no file can have such a path. System calls fail on it with errors that do not name it.
    """
    text = str(path)
    if not text:
        raise DataError("a path is empty", "Give a path, or null where none is wanted")
    if "\0" in text:
        raise DataError(f"the path {text!r} holds a NUL character", "Remove it")
    parts = [os.fsencode(part) for part in text.split("/")]
    if len(os.fsencode(text)) >= MAX_PATH or max(map(len, parts)) > MAX_NAME:
        raise DataError(f"the path {text[:60]}... is too long", f"Give one whose names have at most {MAX_NAME} bytes")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{text}: there is no such home folder", "Write the path without ~") from error


def fsync_dir(path: Path) -> None:
    """Make renames inside `path` durable; Windows has no call for it."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str | Path, data: str | bytes, *, mode: int = 0o644) -> None:
    """Write a whole file or nothing: temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        RunFolderError: the disk is full, the folder cannot be written, and the like; names the file.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path, mode=mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


class _NamedWriter(io.BufferedWriter):
    """A file whose errors name `path`, its final place."""

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
    """A file to write piece by piece; it appears at `path` when the block ends without an error.

    Raises:
        RunFolderError: the disk is full, the folder cannot be written, and the like; names the file.
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
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode=mode)


def write_dir_atomic(path: str | Path, fill: Callable[[Path], None]) -> None:
    """Make a folder atomically: `fill` writes into a temporary sibling, which is then renamed to `path`.

    A folder that is already at `path` is replaced.

    Raises:
        RunFolderError: the disk is full, the folder cannot be written, and the like; names the folder.
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
    """Rename a filled folder to its final name after its files are on disk; replaces an older one."""
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
"""Folder for files that were moved instead of being deleted or overwritten."""


def set_aside(paths: Sequence[Path]) -> Path:
    """Move files and folders of one folder into `set_aside/N/` beside them, with a number that is free.

    Returns:
        The folder that they are in now.

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
    """First 16 hex digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def hash_json(value: Any) -> str:
    """Hash of a JSON value; independent of the order of keys."""
    return hash_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass"))


def hash_file(path: str | Path) -> str:
    """Hash of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for this process, once the one that holds it is done; it goes with the process."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(open_appending(path, 0o600))  # refuses links and devices
    with FileLock(path):
        yield


LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.\d+\.(tmp|old)")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of killed processes below a folder that this process holds.

    Folders below it that have a lock of their own are left alone: another process may be at work there.
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
    """Hold `folder` for this process; the lock ends with the process, however it ends.

    If nothing was written inside the block, the folder is left as it was: what the lock made is removed.

    Args:
        folder: created if it is missing.
        setting: the option that names it, for the errors.

    Raises:
        RunFolderError: another process holds it, or the folder cannot be written.
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
    """Create and lock the lock file, and write this process's id into it."""
    path = folder / LOCK
    lock = FileLock(path, blocking=False)
    for _ in range(100):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.close(open_appending(path, 0o644))  # refuses links and devices
            lock.acquire()
        except FileNotFoundError:
            continue
        except Timeout as error:
            if not path.exists():  # its holder removed it between opening and locking
                continue
            raise RunFolderError(
                f"{setting} {folder} is in use by process {_owner(path)}",
                f"Wait for it to end, or choose another folder with --{setting}",
            ) from error
        with suppress(PermissionError), os.fdopen(open_appending(path, 0o644), "a") as file:
            file.truncate(0)  # Windows permits neither while the file is locked
            file.write(f"{os.getpid()}\n")
        return lock
    raise RunFolderError(f"{setting} {folder} is removed as often as it is made", f"Choose another with --{setting}")


def _owner(lock: Path) -> str:
    with suppress(OSError):
        return lock.read_text(encoding="utf-8", errors="replace")[:20].strip() or "unknown"
    return "unknown"


def _remove_unused(folder: Path, missing: Sequence[Path]) -> None:
    """Remove the lock from a folder that holds nothing else, and the folders that were missing before."""
    try:
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            for each in missing:
                each.rmdir()
    except OSError:  # someone else writes there, or removed it
        return
