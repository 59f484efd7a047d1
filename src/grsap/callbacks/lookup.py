"""Find a trainer's callbacks."""

from __future__ import annotations

from typing import Any, TypeVar

from lightning.pytorch import Callback, Trainer

Kind = TypeVar("Kind")


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return all callbacks of a trainer in call order."""
    untyped: Any = trainer
    return list(untyped.callbacks)


def find_callback(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """Return the first callback of a class or runtime-checkable protocol; None if there is none."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, kind)), None)


def call_first(trainer: Trainer, callback: Callback) -> None:
    """Move `callback` to the front, so that Lightning calls it before all others; can be called in `setup`."""
    untyped: Any = trainer
    untyped.callbacks = [callback, *(each for each in callbacks_of(trainer) if each is not callback)]
