"""Recognise the folders of a report by the schemas of their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grsap.checksums import CHECKSUM, is_whole
from grsap.errors import DataError
from grsap.files import user_path
from grsap.json_text import read_json

SCHEMAS: dict[str, tuple[str, str]] = {
    "grsap.summary/1": ("run", "summary.json"),
    "grsap.evaluation/1": ("evaluation", "evaluation.json"),
    "grsap.similarity/1": ("similarity", "similarity.json"),
    "grsap.manifest/1": ("run", "manifest.json"),
    "grsap.curation/1": ("curation", "manifest.json"),
    "grsap.synthesis/1": ("synthesis", "manifest.json"),
    "grsap.evaluation_manifest/1": ("evaluation", "manifest.json"),
}
"""Schema -> (kind of folder, name of the file with this schema)."""

RESULT_OF = {"evaluation": "evaluation.json", "similarity": "similarity.json"}
"""Kind of folder -> the file that it has only when finished."""

MADE_BY = "grsap fit, synthesize, curate, evaluate or similarity"
Json = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A folder that a command of grsap wrote.

    Attributes:
        kind: `run`, `evaluation`, `similarity`, `curation` or `synthesis`.
        path: path of the folder.
        name: name on the page, unique among the folders.
        manifest: content of `manifest.json`; empty if there is none.
        result: content of `summary.json`, `evaluation.json` or `similarity.json`; empty if there is none.
    """

    kind: str
    path: Path
    name: str
    manifest: Json = field(default_factory=dict)
    result: Json = field(default_factory=dict)


def read_sources(folders: Sequence[str | Path]) -> list[Source]:
    """Recognise folders, in the given order, without repeats.

    Raises:
        DataError: a folder is missing, not from grsap, unfinished, or from another version.
    """
    paths = list(dict.fromkeys(Path(os.path.normpath(user_path(folder))) for folder in folders))
    names = _names(paths)
    return [read_source(path, names[path]) for path in paths]


def read_source(path: Path, name: str) -> Source:
    """Recognise one folder; see `read_sources`."""
    if not path.is_dir():
        problem = "is a file, not a folder" if path.exists() else "does not exist"
        raise DataError(f"{path} {problem}", f"Give the folder that {MADE_BY} wrote")
    manifest = _read_json(path / "manifest.json")
    kind = _kind_of(path)
    if kind is None:
        raise DataError(f"{path} holds nothing that a report can show", _remedy(path))
    result_name = RESULT_OF.get(kind, "summary.json" if kind == "run" else "")
    result = _read_json(path / result_name) if result_name else {}
    if kind in RESULT_OF and not result:
        raise DataError(
            f"{path} holds no {result_name}: the work is not finished", f"Finish it with grsap {_verb(kind)}"
        )
    return Source(kind, path, name, manifest, result)


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Raise DataError for a missing or malformed value of the folder's files inside the block."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        name = RESULT_OF.get(source.kind, "manifest.json or summary.json")
        raise DataError(
            f"{name} is not as grsap writes it ({type(error).__name__}: {error})", _again(source.kind), path=source.path
        ) from error


def _kind_of(path: Path) -> str | None:
    for schema, (kind, name) in SCHEMAS.items():
        found = str(_read_json(path / name).get("schema", ""))
        if found == schema:
            return kind
        if found.rpartition("/")[0] == schema.rpartition("/")[0]:
            raise DataError(
                f"is of version {found}, and this grsap reads {schema}", "Use the grsap that wrote it", path=path / name
            )
    return None


def _read_json(path: Path) -> Json:
    """Return the JSON object in a file; empty if the file is missing.

    Raises:
        DataError: the file cannot be read, has other content, or a wrong checksum.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}", "Create it again, or leave the folder out", path=path) from error
    if not isinstance(value, dict):
        raise DataError("holds no JSON object", "Create it again, or leave the folder out", path=path)
    if CHECKSUM in value and not is_whole(value):
        raise DataError("was changed since it was written", "Create it again, or leave the folder out", path=path)
    return value


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return path -> name: the last part of the path, extended to the left until all names differ."""
    parts = {path: path.resolve().parts for path in paths}

    def shown(length: Callable[[Path], int]) -> dict[Path, str]:
        return {path: "/".join(parts[path][-length(path) :]) for path in paths}

    lengths = dict.fromkeys(paths, 1)
    for _ in range(max((len(each) for each in parts.values()), default=0)):
        names = shown(lengths.__getitem__)
        same = [path for path in paths if list(names.values()).count(names[path]) > 1]
        if not same:
            break
        lengths |= {path: lengths[path] + 1 for path in same}
    return shown(lengths.__getitem__)


def _remedy(path: Path) -> str:
    try:
        inside = [child for child in sorted(path.iterdir()) if child.is_dir()][:200]
        found = [child.name for child in inside if _kind_of(child)]
    except (OSError, DataError):
        found = []
    if found:
        return f"Give the folders in it: {', '.join(str(path / name) for name in found[:4])}"
    return f"Give a folder that {MADE_BY} wrote"


def _verb(kind: str) -> str:
    return {"evaluation": "evaluate", "run": "fit", "curation": "curate", "synthesis": "synthesize"}.get(kind, kind)


def _again(kind: str) -> str:
    return f"Create it again with grsap {_verb(kind)}, or leave the folder out"
