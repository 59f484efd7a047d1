"""A server in a process of its own, on 127.0.0.1, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Linux: have this process killed when the one that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class ServerProcess:
    """Starts `python -m MODULE ARGUMENTS` with the tests' own Python, and waits until its /health answers.

    Args:
        words: what follows `python`.
        port: where it listens.
        log: file for what it prints.
        environment: more environment variables.
        start_s: seconds that it may take to start.
        cwd: its working directory.
    """

    def __init__(
        self,
        words: Sequence[str],
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
        start_s: float = 240,
        cwd: Path | None = None,
    ) -> None:
        self.words = list(words)
        self.port = port
        self.log = log
        self.environment = environment or {}
        self.start_s = start_s
        self.cwd = cwd
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start the process, in a session of its own, and wait until it is ready."""
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                ["nice", "-n", "10", sys.executable, *self.words],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._wait_until_healthy()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        end = self.log.read_text(errors="replace")[-3000:]
        self.kill()
        pytest.fail(f"the server did not start:\n{end}")

    def kill(self) -> None:
        """Kill the process and what it started, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
