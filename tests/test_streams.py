"""Control characters of untrusted text on their way to the terminal."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from grsap.commands.boundary import run_guarded
from grsap.console import Console
from grsap.errors import ConfigError, DataError
from grsap.progress import Display, ProgressState, progress_line
from grsap.streams import GuardedStream, guarded_streams, printable

PROBES = {
    "colour": "\x1b[31m",
    "clear screen": "\x1b[2J",
    "cursor up": "\x1b[1A",
    "window title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;YQ==\x1b\\",
    "hyperlink": "\x1b]8;;http://localhost\x1b\\",
    "device query": "\x1b[6n",
    "sixel": "\x1bPq\x1b\\",
    "C1 sequence": "\x9b31m",
    "C1 string": "\x9d0;title\x9c",
    "backspace": "\x08\x08\x08",
    "carriage return": "\rall is well",
    "null": "\x00",
    "bell": "\x07",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "delete": "\x7f",
    "next line": "\x85",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "direction mark": "\u200f",
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "tag character": "\U000e0041",
    "interlinear": "\ufff9",
    "lone surrogate": "\udc1b",
}
NAME = "a" + "".join(PROBES.values()) + "b"
REFUSED = {letter for probe in PROBES.values() for letter in probe if not letter.isprintable()}


def assert_clean(text: str) -> None:
    assert text
    assert {letter for letter in text if letter in REFUSED} == set()


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_each_control_character_becomes_a_mark(probe: str) -> None:
    expected = "".join(letter if letter.isprintable() else "\ufffd" for letter in probe)
    assert printable(f"a{probe}b") == f"a{expected}b"
    assert "\ufffd" in expected


@pytest.mark.parametrize("text", ["plain", "żółć 中文 العربية", "👩\u200d💻", "نمی\u200cخواهم", "a\u00a0b\u3000c", ""])
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text
    stream = io.StringIO()
    GuardedStream(stream).write(f"{text}\n\tx\r\n")
    assert stream.getvalue() == f"{text}\n\tx\n"


def test_a_newline_is_a_mark_unless_it_is_kept() -> None:
    assert printable("a\nb") == "a\ufffdb"
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc"


def test_a_progress_bar_may_return_to_the_start_of_its_line_and_a_text_may_not() -> None:
    stream = io.StringIO()
    guarded = GuardedStream(stream)
    assert guarded.write("\r 10%") == 5
    guarded.writelines(["name\rhidden\n"])
    assert stream.getvalue() == "\r 10%name\ufffdhidden\n"


def test_what_the_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    stream = GuardedStream(io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    stream.write("é\u20ac\ud800")
    assert raw.getvalue() == b"\xe9\\u20ac\\ufffd"


def test_prints_logs_and_tracebacks_are_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("grsap.test_streams")
    logger.propagate = False  # pytest would keep the record, and its workers cannot send half a surrogate pair
    with guarded_streams():
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        print(NAME)
        logger.warning("name %s", NAME)
        try:
            raise ValueError(NAME)
        except ValueError:
            traceback.print_exc()
    logger.removeHandler(handler)
    out, err = capsys.readouterr()
    assert_clean(out)
    assert_clean(err)
    assert [err.count(word) for word in ("name a", "ValueError: a")] == [1, 1]


@pytest.mark.parametrize("terminal", [False, True])
def test_the_console_takes_text_literally(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(out, force_terminal=terminal, color_system=None, width=500)
    table = Table(NAME, "[red]heading[/]", title=NAME)
    table.add_row(NAME, Text(NAME))
    console.print(table)
    console.print(f"[bold]{NAME}[/] :smile: [link=http://localhost]x[/link]", Text(NAME))
    console.print_line(f"{NAME}\nsecond")
    text = out.getvalue()
    assert_clean(text)
    assert "[red]heading[/]" in text
    assert "[bold]a" in text
    assert ":smile: [link=http://localhost]x[/link]" in text
    assert "b\ufffdsecond\n" in text


def test_colours_of_the_console_pass_the_guard(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded_streams():
        Console(force_terminal=True, color_system="standard").print(Text("x\x1b[1A", "red"))
    assert capsys.readouterr().out == "\x1b[31mx\ufffd[1A\x1b[0m\n"


def test_progress_lines_are_clean() -> None:
    for terminal in (False, True):
        out = io.StringIO()
        console = Console(out, force_terminal=terminal, color_system=None, width=500)
        with progress_line(NAME, 2, every_s=0.01, console=console) as advance:
            advance()
        text = out.getvalue()
        assert "\ufffd" in text
        for probe in ("\x1b]", "\x1bP", "\x9b", "\x08", "\x07", "\u202e", "\u2066", "\ufeff"):
            assert probe not in text


def test_what_is_printed_above_a_live_line_is_not_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with guarded_streams():
        guarded = sys.stdout
        display = Display(lambda: ProgressState("Training", 5), console=Console(force_terminal=True, width=80))
        display.start()
        assert isinstance(display.live, Live)
        print("\x1b]8;;http://localhost\x1b\\name\x1b]8;;\x1b\\ \x1b[31mred")
        display.stop()
        assert sys.stdout is guarded
    assert "]8;" in terminal.getvalue()
    assert "\x1b]8;" not in terminal.getvalue()
    assert "\ufffd[31mred" in terminal.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(f"{NAME} is no setting", "Remove it"), 2),
        (DataError(f"role is {NAME}", "Mend it", path=Path(NAME), line=3), 2),
        (ValueError(NAME), 2),  # raised in a file outside of grsap and of installed packages
        (KeyError(NAME), 2),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_errors_are_told_in_clean_text(
    error: Exception, code: int, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise error

    assert run_guarded(command, debug=debug) == code
    err = capsys.readouterr().err
    assert_clean(err)
    assert "error: " in err


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    assert run_guarded(lambda: int(not isinstance(sys.stdout, GuardedStream))) == 0
    assert (sys.stdout, sys.stderr) == before
