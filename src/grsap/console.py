"""A rich console that prints literal text without control characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import rich.console
from rich.segment import Segment

from grsap.streams import printable, unguarded


class Console(rich.console.Console):
    """A console without markup, so that a name such as `[red]` prints literally. Use `Text` for styles.

    Args:
        file: stream to write to; by default stdout, or stderr with `stderr`.
        settings: other arguments of `rich.console.Console`.
    """

    def __init__(self, file: IO[str] | None = None, **settings: Any) -> None:
        super().__init__(**{"file": file, "markup": False, "highlight": False, "emoji": False, **settings})

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of the renderable; control characters in its text are replaced by marks."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text, keep="\n")
            yield segment if text is segment.text else Segment(text, segment.style, segment.control)

    def print_line(self, text: str) -> None:
        """Print one line without wrapping; a newline in it is replaced by a mark."""
        self.print(printable(text, keep="\t"), soft_wrap=True)

    @property
    def file(self) -> IO[str]:
        """The stream to write to, without its `GuardedStream` wrapper."""
        stream: IO[str] = unguarded(super().file)
        return stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream


def say(text: str) -> None:
    """Print one line on stderr."""
    Console(stderr=True).print_line(text)
