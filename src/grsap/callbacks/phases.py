"""Long pieces of work inside a run (checks, exports): shown while they last, and timed apart from training."""

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
    """A progress bar that also shows work that is not training."""

    def phase(self, description: str, total: int | None = None) -> AbstractContextManager[Progress]:
        """Show it; yields a function to be called with (items done, items in all)."""
        ...


_seconds: WeakKeyDictionary[Trainer, float] = WeakKeyDictionary()


def phase_seconds(trainer: Trainer) -> float:
    """Seconds that this process has spent in phases of `trainer`."""
    return _seconds.get(trainer, 0.0)


@contextmanager
def phase(trainer: Trainer, description: str, total: int | None = None) -> Iterator[Progress]:
    """Show and time a piece of work that is not training. Phases do not nest.

    Args:
        trainer: its progress bar shows the work, if it is a `ShowsPhases`, as `ProgressReport` is.
        description: what is being done, such as `harmfulness check at step 40`.
        total: how many items there are, if known.

    Yields:
        A function to be called with (items done, items in all); `Generator.generate` takes it as `progress`.
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
