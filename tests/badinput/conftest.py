"""Runs a command line in a working directory of its own, and says what it wrote and whether it loaded weights."""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import transformers

from grsap.models import BaseModel

TIME_LIMIT = 30
"""Seconds that a bad input may take on a busy machine; one takes a fifth of a second."""


def tree(folder: Path) -> dict[str, str]:
    """What is in a folder: name -> kind, mode and hash of the content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(folder))] = f"{status.st_mode:o} {status.st_mtime_ns if content else 0} {content}"
    return found


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Inside, a command that hangs is interrupted."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The weights that were asked for; each time an error is raised instead."""
    asked: list[str] = []

    def refuse(*args: Any, **kwargs: Any) -> Any:
        asked.append("BaseModel.load")
        raise AssertionError("weights are loaded")

    real = transformers.PreTrainedModel.from_pretrained.__func__

    def from_pretrained(kind: type, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("device_map") == {"": "meta"}:
            return real(kind, *args, **kwargs)  # shapes without values
        asked.append(f"{kind.__name__}.from_pretrained")
        raise AssertionError("weights are loaded")

    monkeypatch.setattr(BaseModel, "load", refuse)
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(from_pretrained))
    return asked


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory. Modules in it are forgotten afterwards, and nothing outside it is written."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    importlib.invalidate_caches()
    modules = set(sys.modules)
    yield folder
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(f"{folder}{os.sep}"):
            del sys.modules[name]
