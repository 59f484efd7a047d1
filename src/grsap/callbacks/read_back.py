"""Verify that a checkpoint can be loaded before the run relies on it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from grsap.compat import dump_checkpoint
from grsap.errors import ConfigError, first_line

_REMEDY = (
    "Return plain Python values (numbers, strings, lists, dicts) and tensors from its state_dict: float(x), x.tolist()"
)


def check_readable(path: Path, trainer: Trainer) -> None:
    """Load a checkpoint file as a resumed run will, with tensors and plain values only.

    Tensors are memory-mapped, so that the cost does not depend on their size.

    Args:
        path: path of the file.
        trainer: wrote the file; on an error the states are collected again to name the one that cannot be loaded.

    Raises:
        ConfigError: a user-defined callback or DataModule has a state that cannot be loaded.
    """
    try:
        torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        name = _unreadable_part(trainer) or "the checkpoint"
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        kind = f"contains {found[1]}, which" if found else "has a type that"
        raise ConfigError(f"The state of {name} {kind} cannot be loaded from a checkpoint", _REMEDY) from error


def check_writable(error: Exception, trainer: Trainer) -> None:
    """Find the state that could not be written to a checkpoint.

    Args:
        error: of writing the checkpoint.
        trainer: wrote it; the states are collected again.

    Raises:
        ConfigError: a user-defined callback or DataModule has a state that cannot be written.
    """
    if name := _unreadable_part(trainer):
        problem = f"The state of {name} cannot be written to a checkpoint ({type(error).__name__}: {first_line(error)})"
        raise ConfigError(problem, _REMEDY) from error


def _unreadable_part(trainer: Trainer) -> str | None:
    return next((name for name, value in _parts(dump_checkpoint(trainer)) if not _is_readable(value)), None)


def _parts(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, state) of each part of a checkpoint, with names for error messages."""
    for key, value in checkpoint.items():
        if key in ("callbacks", "plugins"):
            kind = "callback " if key == "callbacks" else ""
            yield from ((f"{kind}{name}", state) for name, state in value.items())
        elif key not in ("state_dict", "optimizer_states"):  # tensors, by far the largest part
            yield key, value


def _is_readable(value: Any) -> bool:
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception:
        return False
    return True
