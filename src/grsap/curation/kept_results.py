"""Results of expensive work on disk: no row is embedded, scored or judged twice, whenever a call ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grsap.appending import AppendFile
from grsap.checksums import checked_line, read_checked_lines
from grsap.errors import DataError
from grsap.files import hash_json

SCHEMA = "grsap.curation_results/1"


class KeptResults:
    """A file of pieces `{"rows": [numbers], "values": [...]}`, each on disk before the next is begun.

    Its name and first line say whose results they are. What a killed call left half-written is removed and done again.

    Args:
        folder: is made if it is missing.
        name: of the results.
        identity: of the model that makes them, and of the texts that they are of.

    Raises:
        RunFolderError: the file cannot be written.
    """

    def __init__(self, folder: Path, name: str, identity: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.{hash_json(identity)[:8]}.log"
        self._file = AppendFile(self.path)
        if not self._file.size_bytes:
            self._file.append(checked_line({"schema": SCHEMA, **identity}))

    def pieces(self) -> Iterator[tuple[list[int], list[Any]]]:
        """(rows, values) of each piece.

        Raises:
            DataError: a line is broken; names it.
        """
        for line, piece in read_checked_lines(self.path):
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
        self._file.append(checked_line({"rows": rows, "values": values}))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
