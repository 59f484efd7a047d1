"""Finding a trainer's callbacks."""

from __future__ import annotations

from typing import Any, TypeVar

from lightning.pytorch import Callback, Trainer

Kind = TypeVar("Kind")


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """All callbacks of a trainer, in the order in which they are called."""
    untyped: Any = trainer
    return list(untyped.callbacks)


def find_callback(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """The first callback of a class or runtime-checkable protocol; None if the trainer has none."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, kind)), None)


def call_first(trainer: Trainer, callback: Callback) -> None:
    """Have Lightning call `callback` before all others from now on; for `setup`, while Lightning goes through them."""
    untyped: Any = trainer
    untyped.callbacks = [callback, *(each for each in callbacks_of(trainer) if each is not callback)]
