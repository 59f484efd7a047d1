"""Show progress in one line: live on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from grsap.console import Console
from grsap.streams import guarded_streams

EVERY_S = 10.0
"""Seconds between plain lines."""


def duration(seconds: float) -> str:
    """Format seconds as `45 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class ProgressState:
    """The progress of a task.

    Attributes:
        description: shown before the numbers.
        total: number of items; None if unknown.
        done: items done.
        started: `time.monotonic()` at its start.
        seconds_per_item: for the remaining time; None if unknown.
        loss, tokens_per_second: shown if known.
    """

    description: str
    total: int | None
    done: int = 0
    started: float = field(default_factory=lambda: time.monotonic())
    seconds_per_item: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None

    @property
    def eta_seconds(self) -> float | None:
        """Remaining seconds; None if unknown."""
        if self.total is None or self.seconds_per_item is None:
            return None
        return max(self.total - self.done, 0) * self.seconds_per_item

    def line(self) -> str:
        """`Training 5/20 | loss 1.2500 | 500 tokens/s | ETA 2 min 00 s`."""
        parts = [f"{self.description} {self.done}" + ("" if self.total is None else f"/{self.total}")]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.eta_seconds is not None:
            parts.append(f"ETA {duration(self.eta_seconds)}")
        else:
            parts.append(f"{duration(time.monotonic() - self.started)} so far")
        return " | ".join(parts)


class Display:
    """Shows the current task until it is stopped: a live line on a terminal, plain lines from a thread elsewhere.

    Args:
        current: returns the current task, or None.
        every_s: seconds between plain lines.
        console: by default stderr.
    """

    def __init__(
        self, current: Callable[[], ProgressState | None], every_s: float = EVERY_S, console: Console | None = None
    ) -> None:
        self.console = console or Console(file=sys.stderr)
        self.every_s = every_s
        self.live: Live | None = None
        self.ticker: _Ticker | None = None
        self._current = current
        self._guard = ExitStack()

    @property
    def is_running(self) -> bool:
        """Whether the display is started and not stopped."""
        return self.live is not None or self.ticker is not None

    def start(self) -> None:
        """Start the display if it is not running."""
        if self.is_running:
            return
        if self.console.is_terminal:
            self.live = Live(
                console=self.console,
                get_renderable=self._render,
                refresh_per_second=4,
                transient=True,
                # Redirecting a stdout that is a file would print its text on the terminal.
                redirect_stdout=sys.stdout.isatty(),
            )
            self.live.start()
            # Live replaces the streams by its own, which interpret escape sequences in printed text.
            self._guard.enter_context(guarded_streams())
        else:
            self.ticker = _Ticker(self)
            self.ticker.start()

    def stop(self) -> None:
        """Stop the display and restore the terminal."""
        self._guard.close()
        if self.live is not None:
            self.live.stop()
        if self.ticker is not None:
            self.ticker.stop()
        self.live, self.ticker = None, None

    def line(self) -> str:
        """Return the current task in one line; empty without a task."""
        task = self._current()
        return "" if task is None else task.line()

    def say(self, text: str) -> None:
        """Print a plain line, unless the console is a terminal."""
        if not self.console.is_terminal:
            self.console.print_line(text)

    def _render(self) -> Table:
        task = self._current()
        table = Table.grid(padding=(0, 1))
        if task is not None:
            table.add_row(Bar(total=task.total, completed=task.done, width=24), Text(task.line()))
        return table


class _Ticker(threading.Thread):
    def __init__(self, display: Display) -> None:
        super().__init__(daemon=True, name="grsap-progress")
        self._display = display
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._display.every_s):
            if line := self._display.line():
                self._display.say(line)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


Advance = Callable[..., None]
"""Called as `advance(items=1, tokens=0)`."""


@contextmanager
def progress_line(
    description: str, total: int | None = None, every_s: float = EVERY_S, console: Console | None = None
) -> Iterator[Advance]:
    """Show the progress of a task inside the block, with the remaining time and, if tokens are counted, tokens/s.

    Args:
        description: shown before the numbers.
        total: number of items; None if unknown.
        every_s: seconds between plain lines.
        console: by default stderr.

    Yields:
        `advance(items=1, tokens=0)`, to be called when items are done.
    """
    task = ProgressState(description, total)
    display = Display(lambda: task, every_s, console)
    num_tokens = 0

    def advance(items: int = 1, tokens: int = 0) -> None:
        nonlocal num_tokens
        seconds = max(time.monotonic() - task.started, 1e-9)
        num_tokens += tokens
        task.done += items
        task.seconds_per_item = seconds / task.done if task.done else None
        task.tokens_per_second = num_tokens / seconds if num_tokens else None

    display.say(f"{task.description} ...")
    display.start()
    try:
        yield advance
    finally:
        display.stop()
        display.say(f"{task.description}: {task.done} done in {duration(time.monotonic() - task.started)}")
