"""Check that a checkpoint can be read before the run relies on it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from grsap.compat import dump_checkpoint
from grsap.errors import ConfigError

_REMEDY = (
    "Return plain Python values (numbers, texts, lists, dicts) and tensors from its state_dict: float(x), x.tolist()"
)


def check_readable(path: Path, trainer: Trainer) -> None:
    """Read a checkpoint file back as a resumed run will: tensors and plain values only.

    The tensors are mapped, not read, so that the cost does not depend on their size.

    Args:
        path: of the file just written.
        trainer: that wrote it; its parts are asked for their state again to name the one that cannot be read.

    Raises:
        ConfigError: a callback or DataModule of the user has a state that cannot be read.
    """
    try:
        torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        checkpoint = dump_checkpoint(trainer)
        name = next((name for name, value in _parts(checkpoint) if not _is_readable(value)), "the checkpoint")
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        kind = f"holds {found[1]}, which" if found else "is something that"
        raise ConfigError(f"The state of {name} {kind} cannot be read from a checkpoint again", _REMEDY) from error


def _parts(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The states in a checkpoint, each with a name that tells the user whose it is."""
    for key, value in checkpoint.items():
        if key in ("callbacks", "plugins"):
            kind = "callback " if key == "callbacks" else ""
            yield from ((f"{kind}{name}", state) for name, state in value.items())
        elif key not in ("state_dict", "optimizer_states"):  # tensors, by far the largest part
            yield key, value


def _is_readable(value: Any) -> bool:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except Exception:
        return False
    return True
