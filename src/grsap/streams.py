"""Print untrusted text with visible marks in place of control characters. Standard library only.

File names, rows, server messages, model configs and exceptions may contain escape sequences that rewrite the screen,
set the clipboard or reverse the writing direction. `guarded_streams` filters everything that a process prints.
`grsap.console.Console` filters its own text and bypasses it, so that colours and cursor movements of tables work.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

MARK = "\ufffd"
"""Replaces each character that must not reach a terminal."""
_JOINERS = "\u200c\u200d"  # part of ordinary Persian, Hindi and emoji
_KEPT_CATEGORIES = frozenset({"Zs", "Co", "Cn"})  # spaces, private use, and characters newer than this Python


def printable(text: str, keep: str = "") -> str:
    """Return the text with a mark for each control, format (such as bidirectional overrides) and surrogate character.

    Args:
        text: any text.
        keep: control characters to keep, such as a newline. Without it the result is one line.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or _is_harmless(letter) else MARK for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) in _KEPT_CATEGORIES


def unguarded(stream: Any) -> Any:
    """Return the stream without the wrappers of rich and `guarded_streams`."""
    while (inner := getattr(stream, "rich_proxied_file", None)) is not None:
        stream = inner
    return stream


class GuardedStream:
    """A text stream that replaces control characters, except newlines, tabs, and those of progress bars.

    A write may begin with a carriage return, as tqdm redraws its line; inside a text it would hide the text before it.
    All attributes except `write` and `writelines` are the inner stream's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def rich_proxied_file(self) -> TextIO:
        """The inner stream, under the name by which rich finds it to write its escape sequences."""
        return self._stream

    def write(self, text: str) -> int:
        """Write the text with marks for control characters, and escapes for characters that the encoding lacks."""
        start = "\r" if text.startswith("\r") and not text.startswith("\r\n") else ""
        safe = start + printable(text[len(start) :].replace("\r\n", "\n"), keep="\n\t")
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(safe.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Make stdout and stderr `GuardedStream`s inside the block, for all prints, warnings, logs and tracebacks."""
    before = sys.stdout, sys.stderr
    # In a process without a console they are None.
    sys.stdout, sys.stderr = (stream and cast(TextIO, GuardedStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def spreadsheet_text(text: str) -> str:
    """Return the text as a CSV cell that no spreadsheet evaluates: with ' before = + - @, unless it is a number."""

    cleaned = "".join(character if character.isprintable() else " " for character in text)
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cleaned
    try:
        float(text)
    except ValueError:
        return f"'{cleaned}"
    return cleaned
