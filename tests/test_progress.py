from __future__ import annotations

import io
import re
import threading
import time
from types import SimpleNamespace

import pytest

from grsap import progress
from grsap.console import Console
from grsap.progress import ProgressState, duration, progress_line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_says_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 107.0))
    assert ProgressState("Rows", None, 3, started=100.0).line() == "Rows 3 | 7 s so far"
    work = ProgressState("Rows", 10, 4, started=100.0, seconds_per_item=1.5, tokens_per_second=1234.4)
    assert work.line() == "Rows 4/10 | 1,234 tokens/s | ETA 9 s"


def test_a_piece_of_work_in_a_file() -> None:
    text = io.StringIO()
    with progress_line("Queries", 8, every_s=0.1, console=Console(file=text, width=40)) as advance:
        time.sleep(0.15)
        advance(2, tokens=50)
        time.sleep(0.2)
        advance()
    lines = text.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("Queries ...", "Queries: 3 done in 0 s")
    assert lines[1] == "Queries 0/8 | 0 s so far"
    assert re.fullmatch(r"Queries 2/8 \| (3\d\d|2\d\d) tokens/s \| ETA \d s", lines[2])
    assert "\x1b" not in text.getvalue()
    assert [thread.name for thread in threading.enumerate() if thread.name == "grsap-progress"] == []


def test_failed_work_leaves_no_thread() -> None:
    text = io.StringIO()
    with pytest.raises(KeyError), progress_line("Rows", every_s=0.05, console=Console(file=text)):
        raise KeyError
    assert [thread.name for thread in threading.enumerate() if thread.name == "grsap-progress"] == []


def test_on_a_terminal_the_line_is_live_and_vanishes() -> None:
    text = io.StringIO()
    with progress_line("Rows", 4, console=Console(file=text, force_terminal=True, width=100)) as advance:
        advance(3)
        time.sleep(0.4)
    written = text.getvalue()
    assert "Rows 3/4 | ETA 0 s" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert "done in" not in written
