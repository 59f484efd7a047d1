"""Files of packages: those that grsap carries (the quickstart's data and adapter, recipes), and those of others.

Paths in settings that begin with `embedded:` name the former, `installed:PACKAGE/FILE` the latter; all others are
ordinary paths.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path

from grsap.errors import DataError, MissingPackageError
from grsap.files import user_path

PREFIX = "embedded:"
INSTALLED = "installed:"
_HERE = Path(__file__).parent
_SOURCE_TREE = _HERE.parents[2]


def resolve(path: str | Path) -> Path:
    """The place of a file or folder; `embedded:quickstart/replay.jsonl` is looked up in the package.

    Raises:
        DataError: the package carries no such file, or no file can have such a path.
        MissingPackageError: the package of an `installed:` path is not installed.
    """
    if str(path).startswith(INSTALLED):
        return _in_package(str(path).removeprefix(INSTALLED))
    if not str(path).startswith(PREFIX):
        return user_path(path)
    name = str(path).removeprefix(PREFIX)
    # An installed package carries configs/ beside this file; a source tree has it at its top.
    for root in (_HERE, _SOURCE_TREE) if name.startswith("configs/") else (_HERE,):
        if (root / name).exists():
            return root / name
    raise DataError(f"{path} is not carried by this version of grsap", "See `embedded:` in docs/formats.md for what is")


def is_packaged(path: str | Path) -> bool:
    """Return whether the path names a file of a package, so that it means the same on every machine."""
    return str(path).startswith((PREFIX, INSTALLED))


def _in_package(name: str) -> Path:
    """Find `PACKAGE/FILE` without running the package's code."""
    package, _, file = name.partition("/")
    spec = PathFinder.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"{INSTALLED}{name}: the package {package!r} is not installed",
            f"Install it: pip install --no-deps {package}" if package.isidentifier() else "Name a package and its file",
        )
    for folder in spec.submodule_search_locations:
        # A path may not leave the package.
        if (
            file
            and (found := (Path(folder) / file).resolve()).is_relative_to(Path(folder).resolve())
            and found.exists()
        ):
            return found
    raise DataError(
        f"{INSTALLED}{name}: the installed package {package} has no such file",
        "Check the path, and the package's version",
    )
