"""Cache of converted and merged base models in Hugging Face format, and of hashes of large files."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from grsap.files import hash_bytes, hash_file, hash_json, waiting_lock, write_atomic, write_dir_atomic
from grsap.json_text import read_json

MIN_REMEMBERED_BYTES = 64 * 2**20
"""Size from which hashes are cached; smaller files are hashed each time."""
_MIN_AGE_S = 2.0
"""Age from which hashes are cached: a file changed more recently may change again without a new time stamp."""


def cache_root() -> Path:
    """Return `$XDG_CACHE_HOME/grsap/models` or `~/.cache/grsap/models`. It may be deleted at any time."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "grsap" / "models"


def cached_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the cached folder `name`. `fill` creates it atomically at the first call, while other processes wait."""
    folder = cache_root() / name
    if not (folder / "config.json").is_file():
        with waiting_lock(cache_root() / f".{name}.lock"):
            if not (folder / "config.json").is_file():
                write_dir_atomic(folder, fill)
    return folder


def remembered_hash(path: Path) -> str:
    """Return `hash_file`, cached for large files by size, times and inode.

    Any write changes a file's ctime, so that a changed file is read again.
    """
    status = path.stat()
    if status.st_size < MIN_REMEMBERED_BYTES:
        return hash_file(path)
    stamp = hash_json([status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev])
    note = cache_root() / "hashes" / f"{hash_bytes(os.fsencode(path.resolve()))}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = read_json(note)
        if kept["stamp"] == stamp:
            return str(kept["hash"])
    found = hash_file(path)
    if time.time() - max(status.st_mtime, status.st_ctime) > _MIN_AGE_S:
        with contextlib.suppress(OSError):  # the cache may be read-only
            write_atomic(note, json.dumps({"stamp": stamp, "hash": found}))
    return found
