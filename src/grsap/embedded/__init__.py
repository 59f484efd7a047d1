"""Files that the package carries: the quickstart's data and adapter, and the recipes.

Paths in settings that begin with `embedded:` name them; all others are ordinary paths.
"""

from __future__ import annotations

from pathlib import Path

from grsap.errors import DataError
from grsap.files import user_path

PREFIX = "embedded:"
_HERE = Path(__file__).parent
_SOURCE_TREE = _HERE.parents[2]


def resolve(path: str | Path) -> Path:
    """The place of a file or folder; `embedded:quickstart/replay.jsonl` is looked up in the package.

    Raises:
        DataError: the package carries no such file, or no file can have such a path.
    """
    if not str(path).startswith(PREFIX):
        return user_path(path)
    name = str(path).removeprefix(PREFIX)
    # An installed package carries configs/ beside this file; a source tree has it at its top.
    for root in (_HERE, _SOURCE_TREE) if name.startswith("configs/") else (_HERE,):
        if (root / name).exists():
            return root / name
    raise DataError(f"{path} is not carried by this version of grsap", "See `embedded:` in docs/formats.md for what is")
