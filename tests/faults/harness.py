"""Runs `grsap` in forks of this warm process, and has faults happen to them: kills, full disks, damaged files.

A fork costs milliseconds, where a fresh interpreter imports for ten seconds. A switch that is installed in the fork
counts the child's changes to the disk and can kill the child, or fail the call, at any one of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from tests.faults.switch import Change, Counter, Switch


@dataclass(frozen=True)
class Attempt:
    """How a child ended.

    Attributes:
        codes: exit code of each rank, or minus the signal that ended it.
        seconds: from fork to end.
        told: what it printed on stdout and stderr.
        changes: that it made, if a switch counted them.
    """

    codes: tuple[int, ...]
    seconds: float
    told: str
    changes: tuple[Change, ...] = ()

    @property
    def code(self) -> int:
        """Of the only rank, or the first that was not 0."""
        return next((code for code in self.codes if code), 0)


_PR_SET_CHILD_SUBREAPER = 36


def warm_up() -> None:
    """Import all that a child would import. Children are forked only afterwards."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0
    if tqdm.monitor is not None:
        tqdm.monitor.exit()  # a thread that may hold a lock when this process is forked
        tqdm.monitor = None
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # stages of a killed study become our children: we await them
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    import grsap.callbacks
    import grsap.commands.fit
    import grsap.commands.report
    import grsap.commands.settings
    import grsap.commands.stages
    import grsap.curation
    import grsap.evaluation
    import grsap.importing
    import grsap.reporting
    import grsap.similarity
    import grsap.study
    import grsap.synthesis  # noqa: F401


def attempt(
    folder: Path,
    words: Sequence[str],
    *,
    kill_after_s: float | None = None,
    number: signal.Signals = signal.SIGKILL,
    switch: Switch | None = None,
    ranks: int = 1,
    timeout_s: float = 600.0,
) -> Attempt:
    """Run `grsap WORDS` in a working directory to its end, or until it is killed.

    Args:
        folder: the working directory; `told.RANK.log` there gets what the child prints.
        words: of the command.
        kill_after_s: seconds after which all ranks get the signal.
        number: that signal.
        switch: a fault at one of the first rank's changes.
        ranks: processes that train together. If one ends badly, the others are killed, as torchrun does.
        timeout_s: a child that runs for longer is a failure. Long, since other work may slow it down.
    """
    started = time.monotonic()
    port = _free_port() if ranks > 1 else 0
    children: dict[int, int] = {}
    for rank in range(ranks):
        (folder / f"told.{rank}.log").write_bytes(b"")
        child = os.fork()
        if child == 0:
            _become_grsap(folder, words, rank, ranks, port, switch)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        children[child] = rank
    codes = _wait(children, started, kill_after_s, number, timeout_s)
    told = "".join((folder / f"told.{rank}.log").read_text(errors="replace") for rank in range(ranks))
    changes: tuple[Change, ...] = ()
    if switch is not None:
        lines = (folder / "changes.log").read_text().splitlines()
        changes = tuple(Change(*line.split(" ", 1)) for line in lines)
    return Attempt(codes, time.monotonic() - started, told, changes)


def _wait(
    children: dict[int, int], started: float, kill_after_s: float | None, number: signal.Signals, timeout_s: float
) -> tuple[int, ...]:
    left, codes = dict(children), [0] * len(children)
    kill_at = None if kill_after_s is None else started + kill_after_s
    while left:
        for child in list(left):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[left.pop(child)] = os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if kill_at is not None and now >= kill_at:
            _signal(left, number)
            kill_at = None
        if any(codes) and left and kill_after_s is None:
            _signal(left, signal.SIGKILL)
        if now - started > timeout_s:
            _signal(left, signal.SIGQUIT)
            time.sleep(2)
            _signal(left, signal.SIGKILL)
            raise TimeoutError(f"a child ran for more than {timeout_s} s; told.RANK.log in its folder has its stacks")
        time.sleep(0.002)
    for child in children:
        with contextlib.suppress(ChildProcessError):
            while True:  # what it left behind
                os.waitpid(-child, 0)
    return tuple(codes)


def _signal(children: dict[int, int], number: signal.Signals) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)


def stages_by_fork() -> None:
    """Have a study run its stages in forks of this process instead of new interpreters."""
    from grsap.study import running, stage_process

    def call(command: list[str]) -> int:
        words = command[command.index("grsap") + 1 :]
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            from grsap.cli import main

            stage_process._die_with_parent(parent)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os._exit(main(words))
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def run(command: list[str], check: bool) -> SimpleNamespace:
        return SimpleNamespace(returncode=call(command))

    assert callable(stage_process._call)
    assert callable(running.subprocess.run)
    stage_process._call = call
    running.subprocess = SimpleNamespace(run=run)  # type: ignore[assignment]


def _become_grsap(
    folder: Path,
    words: Sequence[str],
    rank: int,
    ranks: int,
    port: int,
    switch: Switch | None,
) -> None:
    code = 99
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        log = os.open(f"told.{rank}.log", os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.register(signal.SIGQUIT, file=2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ["COLUMNS"] = "200"
        torch.set_num_threads(1)  # makes torch's pool anew in this process, before two threads do so at once
        if ranks > 1:
            _join(rank, ranks, port)
        if words[0] == "study":
            stages_by_fork()
        if switch is not None and rank == 0:
            Counter(switch).install()
        from grsap.cli import main

        code = main(words)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 98
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _join(rank: int, ranks: int, port: int) -> None:
    """The environment that torchrun gives to a rank."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "faults",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
