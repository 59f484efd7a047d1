"""Scripts that are no part of a package, as modules."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def load_script(path: Path) -> ModuleType:
    """What the file defines, in a module that nothing else imports."""
    loader = SourceFileLoader(path.stem, str(path))
    module = ModuleType(loader.name)
    module.__file__ = str(path)
    loader.exec_module(module)
    return module
