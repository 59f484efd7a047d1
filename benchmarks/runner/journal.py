"""The alternations of a cell that has not ended, so that one which was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.runner.cell import Cell
from benchmarks.runner.environments import ROOT
from grsap.appending import AppendFile, json_line
from grsap.files import hash_file, hash_json

UNFINISHED = ROOT / "runs" / "benchmarks" / "unfinished"
CODE = ("src/grsap/**/*.py", "benchmarks/sides/**/*", "benchmarks/*.py", "benchmarks/requirements/*", "constraints.txt")
"""What figures depend on, beside the cell and the machine."""

Alternation = dict[str, dict[str, Any]]


class Journal:
    """Whole alternations of one cell, one JSON line each; half an alternation is measured again.

    Those of another cell, model, machine or code are not taken: the file then begins anew.

    Args:
        folder: of the file.
        cell: its name is the file's.
        circumstances: what else figures depend on, as JSON.

    Attributes:
        alternations: that were measured before, in their order.
    """

    def __init__(self, folder: Path, cell: Cell, circumstances: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{cell.name}.jsonl"
        measured = asdict(replace(cell, pairs=0, figures=[], note=""))
        self._of = hash_json([measured, dict(circumstances), code_hash()])
        self._file = AppendFile(self.path)
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        self.alternations: list[Alternation] = [line["sides"] for line in lines if line["of"] == self._of]
        if len(self.alternations) < len(lines):
            self._file.close()
            self.path.unlink()
            self._file = AppendFile(self.path)
            self.alternations = []

    def add(self, alternation: Alternation) -> None:
        """Keep an alternation; it is on disk when this returns."""
        self._file.append(json_line({"of": self._of, "sides": alternation}))

    def finish(self) -> None:
        """The cell has ended, and its result is written."""
        self._file.close()
        self.path.unlink()


def code_hash(root: Path = ROOT) -> str:
    """One hash of the files in `CODE`."""
    paths = sorted({path for pattern in CODE for path in root.glob(pattern) if path.is_file()})
    return hash_json([f"{path.relative_to(root)} {hash_file(path)}" for path in paths if path.suffix != ".pyc"])
