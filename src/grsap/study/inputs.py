"""The user's files that a stage reads. A stage runs again if they change."""

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
"""Files of a folder that are hashed; of larger folders only the names and sizes of files are compared."""
_YAML = (".yaml", ".yml")


def hashes_of_inputs(stage: PlannedStage, study: Path) -> dict[str, str]:
    """Hash the files and folders named in a stage's settings and configs, or in YAML files that these name.

    Files in the study's folder are excluded: other stages make them, and `needs` covers them.

    Args:
        stage: the stage. Each text in its settings that is the path of an existing file or folder counts.
        study: the study's folder.

    Returns:
        Hashes by the path as it is in the settings.
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
