"""A fault at one of a process's changes to a folder: a kill or an error, such as that of a full disk."""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
AUDITED = {"os.rename": (1, 3), "os.remove": (0, 1), "os.rmdir": (0, 1), "os.mkdir": (0, 2), "os.truncate": (0, None)}
"""Audit events of calls that change names, with the places of the path and of its folder's descriptor."""
PATCHED = ("write", "fsync", "ftruncate")
"""Functions of `os` without an audit event; each takes a descriptor first."""


@dataclass(frozen=True)
class Change:
    """A call that changes a folder: `open`, `write`, `fsync`, `rename`, ... and the name of the file."""

    call: str
    name: str

    def __str__(self) -> str:
        return f"{self.call} {self.name}"


@dataclass(frozen=True)
class Switch:
    """What happens at a child's change number `at`, counted from 1 over the changes below `folder`.

    Args:
        folder: whose changes count.
        at: the number; 0 for never.
        error: an errno to fail the call with; None to kill the child before the call.
        half: of a write, do the first half before.
        for_good: fail all later calls too that need space, as a full disk does.
    """

    folder: Path
    at: int = 0
    error: int | None = None
    half: bool = False
    for_good: bool = False


@dataclass
class Counter:
    """Counts changes in this process and its forks, notes them in `changes.log`, and pulls the switch.

    It cannot be taken out.
    """

    switch: Switch
    shared: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 8))
    log: int = -1
    is_busy: bool = False
    os_functions: dict[str, Any] = field(default_factory=dict)

    def install(self) -> None:
        """From here on each change counts."""
        self.os_functions = {name: getattr(os, name) for name in PATCHED}
        self.log = os.open("changes.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for name in PATCHED:
            setattr(os, name, self._patched(name))
        sys.addaudithook(self._audit)

    def _patched(self, name: str) -> Callable[..., Any]:
        real = self.os_functions[name]

        def call(descriptor: int, *args: Any) -> Any:
            path = self._path_of(descriptor)
            if path is not None:
                self._change(name, path, lambda: self._write_half(descriptor, args) if name == "write" else None)
            return real(descriptor, *args)

        return call

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self.is_busy:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & WRITING:
                self._named("open", path)
        elif event in AUDITED:
            place, folder = AUDITED[event]
            self._named(event.removeprefix("os."), args[place], -1 if folder is None else args[folder])

    def _named(self, call: str, path: Any, folder: int = -1) -> None:
        if isinstance(path, bytes | str | os.PathLike):  # an opened descriptor changes nothing
            parent = self._path_of(folder) if folder >= 0 else None
            self._change(call, (parent or Path.cwd()) / os.fsdecode(path), lambda: None)

    def _path_of(self, descriptor: int) -> Path | None:
        try:
            return Path(f"/proc/self/fd/{descriptor}").readlink()
        except OSError:
            return None

    def _change(self, call: str, path: Path, half: Callable[[], None]) -> None:
        if self.is_busy or not path.is_relative_to(self.switch.folder):
            return
        self.is_busy = True
        try:
            num = 1 + int.from_bytes(self.shared[:8])
            self.shared[:8] = num.to_bytes(8)
            name = path.relative_to(self.switch.folder).as_posix()
            self.os_functions["write"](self.log, f"{call} {neutral_name(name)}\n".encode())
            is_after = self.switch.for_good and num > self.switch.at and call in ("open", "write", "mkdir")
            if self.switch.at and (num == self.switch.at or is_after):
                if self.switch.half:
                    half()
                if self.switch.error is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(self.switch.error, os.strerror(self.switch.error or 0), str(path))
        finally:
            self.is_busy = False

    def _write_half(self, descriptor: int, args: tuple[Any, ...]) -> None:
        data = memoryview(args[0])
        self.os_functions["write"](descriptor, data[: len(data) // 2])


def neutral_name(name: str) -> str:
    """A file's name without what differs from process to process."""
    return re.sub(r"\.[0-9a-z_]+\.(tmp|old)", r".\1", name)


FULL = errno.ENOSPC


def representative(changes: Sequence[Change], *, any_step: bool = False) -> list[int]:
    """Numbers of the first, second and last occurrence of each change: what lies between is more of the same.

    Args:
        changes: all of a run.
        any_step: files of all steps of a run count as one.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for number, change in enumerate(changes, 1):
        name = re.sub(r"step=\d+", "step=", change.name) if any_step else change.name
        places.setdefault((change.call, name), []).append(number)
    return sorted({number for found in places.values() for number in (*found[:2], found[-1])})
