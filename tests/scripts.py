"""Scripts that are no part of a package, as modules."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

RESOURCES = Path(__file__).parents[1] / "resources"


def load_script(path: Path) -> ModuleType:
    """What the file defines, in a module that nothing else imports."""
    loader = SourceFileLoader(path.stem, str(path))
    module = ModuleType(loader.name)
    module.__file__ = str(path)
    loader.exec_module(module)
    return module


def resource(name: str) -> ModuleType:
    """A script of `resources`; these import each other."""
    sys.path.insert(0, str(RESOURCES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(RESOURCES))
