"""Let settings import modules of the working directory, without making them visible to installed packages."""

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
    """Finds modules of a folder for permitted importers. It is last in `sys.meta_path`, so that it hides no module.

    With the folder on `sys.path` instead, optional imports of installed libraries would be searched for in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a top-level module of the folder; None for other names and other importers."""
        if path is not None or not self._may_import(sys._getframe(1)):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [str(self.folder)])
        if spec is not None:
            self._found.add(name)
        return spec

    def invalidate_caches(self) -> None:
        """Do nothing: `PathFinder` has its own caches."""

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
    """Let settings import the modules of `folder`; replaces the folder of an earlier call.

    Returns:
        Top-level modules and packages of `folder` that no installed module hides.
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
