"""Show phases of a run that are not training (checks, exports), and time them separately."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from lightning.pytorch import Trainer

from grsap.generation.base import Progress


@runtime_checkable
class ShowsPhases(Protocol):
    """A progress bar that also shows phases."""

    def phase(self, description: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Show a phase inside the block; yields a function to be called with (items done, total items)."""
        ...


_seconds: WeakKeyDictionary[Trainer, float] = WeakKeyDictionary()


def phase_seconds(trainer: Trainer) -> float:
    """Return the seconds that this process has spent in phases of `trainer`."""
    return _seconds.get(trainer, 0.0)


@contextmanager
def phase(trainer: Trainer, description: str, total: int | None = None) -> Iterator[Progress]:
    """Show and time work inside the block that is not training. Phases do not nest.

    Args:
        trainer: its progress bar shows the phase if it is a `ShowsPhases`, such as `ProgressReport`.
        description: such as `harmfulness check at step 40`.
        total: number of items; None if unknown.

    Yields:
        A function to be called with (items done, total items); `Generator.generate` takes it as `progress`.
    """
    start = time.monotonic()
    bar: object = trainer.progress_bar_callback
    try:
        if isinstance(bar, ShowsPhases):
            with bar.phase(description, total) as report:
                yield report
        else:
            yield lambda done, of: None
    finally:
        _seconds[trainer] = phase_seconds(trainer) + time.monotonic() - start
