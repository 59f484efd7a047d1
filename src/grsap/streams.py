"""Printing untrusted text: its control characters become visible marks. Standard library only.

File names, rows, server messages, model configs and exceptions may hold escape sequences that rewrite the screen, set
the clipboard or reverse the direction of writing. `guarded_streams` filters all that a process prints; colours and
cursor movements of grsap's own tables pass, because `grsap.console.Console` filters their text and writes past it.
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
_KEPT_CATEGORIES = frozenset({"Zs", "Co", "Cn"})  # spaces, private use, and what is newer than this Python


def printable(text: str, keep: str = "") -> str:
    """The text with a mark for each control, format (such as bidirectional overrides) and surrogate character.

    Args:
        text: of any origin.
        keep: control characters that stay, such as a newline. Without it the result is one line.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or _is_harmless(letter) else MARK for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) in _KEPT_CATEGORIES


def unguarded(stream: Any) -> Any:
    """The stream below all wrappers that rich or `guarded_streams` put around it."""
    while (inner := getattr(stream, "rich_proxied_file", None)) is not None:
        stream = inner
    return stream


class GuardedStream:
    """A text stream that lets no control character through but newlines, tabs, and what a progress bar needs.

    A write may begin with a carriage return (tqdm redraws its line so); within a text one would hide what precedes it.
    Everything but `write` is the inner stream's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def rich_proxied_file(self) -> TextIO:
        """The inner stream, under the name by which rich finds it: its own escape sequences must pass."""
        return self._stream

    def write(self, text: str) -> int:
        """Write the text with marks for control characters, and escapes for what the encoding lacks."""
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
    """Inside, stdout and stderr are `GuardedStream`s: prints, warnings, logging and tracebacks of all libraries."""
    before = sys.stdout, sys.stderr
    # A process without a console has None for them.
    sys.stdout, sys.stderr = (stream and cast(TextIO, GuardedStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def spreadsheet_text(text: str) -> str:
    """The text as a CSV cell that no spreadsheet evaluates: an apostrophe before = + - @, unless it is a number."""
    cleaned = "".join(character if character.isprintable() else " " for character in text)
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cleaned
    try:
        float(text)
    except ValueError:
        return f"'{cleaned}"
    return cleaned
