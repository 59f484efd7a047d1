"""Files of the user that a stage reads: a stage that was done with other ones is done again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grsap.embedded import resolve
from grsap.errors import UserError
from grsap.files import hash_json
from grsap.models.cache import remembered_hash
from grsap.study.plan import PlannedStage
from grsap.yaml_text import read_yaml

MAX_HASHED_FILES = 1000
"""Of a folder; one with more counts by the names and sizes of its files."""
_YAML = (".yaml", ".yml")


def hashes_of_inputs(stage: PlannedStage, study: Path) -> dict[str, str]:
    """A hash for each file or folder that a stage's settings, configs, or YAML files named there, name.

    Files in the study's folder are left out: stages make it, and `needs` says which.

    Args:
        stage: whose settings are looked through; a text that is no path of a file or folder is none.
        study: the study's folder.

    Returns:
        By the name in the settings.
    """
    found: dict[str, str] = {}
    todo: list[Any] = [stage.settings, *stage.configs]
    while todo:
        for text in _texts(todo.pop()):
            path = _existing(text)
            if text in found or path is None or _overlaps(path.resolve(), study.resolve()):
                continue
            found[text] = _hash(path)
            if path.suffix in _YAML and path.is_file():
                todo.append(read_yaml(path))
    return dict(sorted(found.items()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from _texts(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _texts(child)


def _existing(text: str) -> Path | None:
    try:
        path = resolve(text)
        return path if path.exists() else None
    except (UserError, OSError):
        return None


def _overlaps(path: Path, study: Path) -> bool:
    return path.is_relative_to(study) or study.is_relative_to(path)


def _hash(path: Path) -> str:
    if path.is_file():
        return remembered_hash(path)
    files = []
    for parent, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names]
    of = remembered_hash if len(files) <= MAX_HASHED_FILES else _size
    return hash_json({str(file.relative_to(path)): of(file) for file in files if file.is_file()})


def _size(path: Path) -> str:
    return str(path.stat().st_size)
