"""The working directory's own modules: importable by settings and by each other, and by no installed package."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType

_MAY_IMPORT = ("jsonargparse", "grsap.commands.local_modules", "grsap.commands.trust")
"""Modules of installed packages that import what settings name."""


class LocalModuleFinder:
    """Finds modules in a folder for importers that may have them; the last of `sys.meta_path`, so it hides nothing.

    Without it the folder would have to be on `sys.path`, and each package that an installed library imports if it is
    there would be looked for in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a top-level module of the folder; None for other names and other importers."""
        if path is not None or not self._may_import(sys._getframe(1)):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [str(self.folder)])
        if spec is not None:
            self._found.add(name)
        return spec

    def invalidate_caches(self) -> None:
        """Nothing: `PathFinder` has its own."""

    def _may_import(self, frame: FrameType | None) -> bool:
        while frame is not None and _module_name(frame).startswith("importlib"):
            frame = frame.f_back
        if frame is None:
            return False
        name = _module_name(frame)
        importers = (*_MAY_IMPORT, *self._found)
        return any(name == each or name.startswith(f"{each}.") for each in importers)


def _module_name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def use_local_modules(folder: Path) -> list[str]:
    """Let settings import the modules of `folder`, and of no other folder from now on.

    Returns:
        Top-level modules and packages that Python finds in `folder` itself, and not installed elsewhere first.
    """
    folder = folder.absolute()
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, LocalModuleFinder)]
    sys.meta_path.append(LocalModuleFinder(folder))
    names = {file.stem for file in folder.glob("*.py")}
    names |= {child.name for child in folder.iterdir() if child.is_dir() and any(child.glob("*.py"))}
    return sorted(name for name in names if name.isidentifier() and _is_found_in(name, folder))


def _is_found_in(name: str, folder: Path) -> bool:
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return False
    here = importlib.machinery.PathFinder.find_spec(name, [str(folder)])
    found = importlib.util.find_spec(name)
    if here is None or found is None:
        return False
    places = list(here.submodule_search_locations or []), list(found.submodule_search_locations or [])
    return here.origin == found.origin and places[0] == places[1]
