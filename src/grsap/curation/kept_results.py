"""Results of expensive work on disk: no row is embedded, scored or judged twice, whenever a call ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grsap.appending import AppendFile, json_line
from grsap.differences import setting_differences
from grsap.errors import DataError, RunFolderError
from grsap.records import read_jsonl

SCHEMA = "grsap.curation_results/1"


class KeptResults:
    """A file of pieces `{"rows": [numbers], "values": [...]}`, each on disk before the next is begun.

    The first line says whose results they are. What a killed call left half-written is removed and done again.

    Args:
        path: is made if it is missing.
        identity: of the model that makes the results, and of the rows that they are of.

    Raises:
        RunFolderError: the file holds another model's results, or cannot be written.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = AppendFile(path)
        head = {"schema": SCHEMA, **json.loads(json.dumps(identity))}
        if not self._file.size_bytes:
            self._file.append(json_line(head))
        _, found = next(read_jsonl(path))
        differences = setting_differences(found, head)
        if differences:
            self._file.close()
            raise RunFolderError(
                f"{path} was made with something else: {'; '.join(differences[:3])}",
                "Choose another folder with --output_dir, or bring back the model that made it",
            )

    def pieces(self) -> Iterator[tuple[list[int], list[Any]]]:
        """(rows, values) of each piece.

        Raises:
            DataError: a line is broken; names it.
        """
        for line, piece in read_jsonl(self.path):
            if line == 1:
                continue
            try:
                rows, values = piece["rows"], piece["values"]
                if len(rows) != len(values):
                    raise KeyError("as many values as rows")
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"no piece of {SCHEMA}: lacks {error}",
                    "Restore the file, or remove it: its results are made again",
                    path=self.path,
                    line=line,
                ) from error
            yield rows, values

    def add(self, rows: list[int], values: list[Any]) -> None:
        """Write a piece."""
        self._file.append(json_line({"rows": rows, "values": values}))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
