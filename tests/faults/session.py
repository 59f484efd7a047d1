"""What a fault test may spend and draws from, and the figures that it prints."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Session:
    """What a test may spend, draws from, and tells at the end.

    Attributes:
        seed: of all draws; printed.
        share_s: seconds that a test may take for what it repeats; None for no limit.
        figures: numbers for the closing lines.
    """

    seed: int
    share_s: float | None
    name: str
    started: float = field(default_factory=time.monotonic)
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def draw(self) -> random.Random:
        """A stream of its own for each test."""
        return random.Random(f"{self.seed} {self.name}")

    def is_over(self) -> bool:
        """Whether the test's share of the time is spent."""
        return self.share_s is not None and time.monotonic() - self.started > self.share_s

    def some(self, items: Sequence[Any]) -> Iterator[Any]:
        """All items in a drawn order, until the time is over; at least one."""
        for item in self.draw.sample(list(items), len(items)):
            yield item
            if self.is_over():
                return

    def count(self, what: str, num: int = 1) -> None:
        """Add to a figure."""
        self.figures[what] = self.figures.get(what, 0) + num

    def __str__(self) -> str:
        told = ", ".join(f"{num} {what}" for what, num in self.figures.items())
        return f"{self.name}: {told}; {time.monotonic() - self.started:.0f} s"
