"""Model folders that grsap makes and keeps: converted and merged bases, in Hugging Face format."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from grsap.files import waiting_lock, write_dir_atomic


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/grsap/models`, or `~/.cache/grsap/models`. May be deleted at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "grsap" / "models"


def cached_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """The cached folder `name`; made by `fill` the first time, whole or not at all, while other processes wait."""
    folder = cache_root() / name
    if not (folder / "config.json").is_file():
        with waiting_lock(cache_root() / f".{name}.lock"):
            if not (folder / "config.json").is_file():
                write_dir_atomic(folder, fill)
    return folder
