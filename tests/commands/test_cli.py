"""The top of the command line: verbs, exit codes, and how little it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

import pytest

import grsap
from grsap.cli import VERBS, main
from grsap.commands.boundary import run_guarded
from grsap.errors import ConfigError, Interrupted, NonFiniteLossError

HEAVY = ("torch", "lightning", "jsonargparse", "transformers", "peft", "numpy", "yaml", "rich")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_light(option: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "grsap", option]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "grsap.cli" in imported
    assert {name for name in imported if name.split(".")[0] in HEAVY} == set()
    assert min(seconds) < 0.5


def test_help_lists_each_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.split()[0] in VERBS] == list(
        VERBS
    )
    assert "Exit codes: 0 success, 1 failure, 2 wrong settings or input, 143 stopped by SIGTERM after saving." in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"grsap {grsap.__version__}\n"


def test_no_verb_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: grsap VERB")


def test_an_unknown_verb_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fitt"]) == 2
    assert capsys.readouterr().err == "error: 'fitt' is not a verb of grsap. Did you mean fit; see grsap --help.\n"


def test_a_terminal_without_a_size() -> None:
    """As one that a program has opened and not sized."""
    ours, theirs = os.openpty()
    done = subprocess.run([sys.executable, "-m", "grsap", "nosuchverb"], stderr=theirs, check=False)
    os.close(theirs)
    assert done.returncode == 2
    assert os.read(ours, 10_000).startswith(b"error: 'nosuchverb' is not a verb of grsap.")
    os.close(ours)


def raising(error: BaseException) -> int:
    def command() -> int:
        raise error

    return run_guarded(command)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            ConfigError("replay_ratio is 1.5", "Give a share in [0, 1]"),
            2,
            "error: replay_ratio is 1.5. Give a share in [0, 1].\n",
        ),
        (NonFiniteLossError("step 3: rows a, b"), 1, "error: step 3: rows a, b\n"),
        (Interrupted("Stopped by SIGTERM at step 3."), 143, "Stopped by SIGTERM at step 3.\n"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C.\n"),
    ],
)
def test_exit_codes(error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (None, 0), (2, 2), ("text", 2)])
def test_exit_codes_of_the_parser(code: object, expected: int) -> None:
    assert run_guarded(partial(sys.exit, code)) == expected


def test_our_faults_hint_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded(partial(divmod, 1, 0)) == 1  # nothing of the user's is among the frames
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("internal error: ZeroDivisionError: integer division or modulo by zero.")
    assert told.endswith("run again with --debug for the traceback.")
    assert "Traceback" not in told


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise ConfigError("x is 1", "Make it 2")

    assert run_guarded(command, debug=True) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("error: x is 1. Make it 2.\n")


def test_a_user_error_inside_a_library_error_is_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        try:
            raise ConfigError("x is 1", "Make it 2")
        except ConfigError as error:
            raise RuntimeError("wrapped") from error

    assert run_guarded(command) == 2
    assert capsys.readouterr().err == "error: x is 1. Make it 2.\n"


def test_an_error_while_a_user_error_is_handled_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        try:
            raise ConfigError("x is 1", "Make it 2")
        except ConfigError:
            raise ZeroDivisionError("oops") from None

    run_guarded(command)
    assert "x is 1" not in capsys.readouterr().err


def test_only_the_first_rank_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert raising(ConfigError("x is 1", "Make it 2")) == 2
    assert capsys.readouterr().err == ""
