"""Stored results of expensive work on rows: no row is embedded, scored or judged again after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grsap.errors import DataError
from grsap.files import hash_json
from grsap.result_log import ResultLog

SCHEMA = "grsap.curation_results/1"


class KeptResults(ResultLog):
    """A log of pieces `{"rows": [numbers], "values": [...]}`. Its first line is the identity; its name has its hash.

    Args:
        folder: created if it is missing.
        name: name of the results.
        identity: identity of the model that computes them, and of their texts.
    """

    def __init__(self, folder: Path, name: str, identity: dict[str, Any]) -> None:
        super().__init__(folder / f"{name}.{hash_json(identity)[:8]}.log")
        self._first = {"schema": SCHEMA, **identity}

    def pieces(self) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield (rows, values) of each piece.

        Raises:
            DataError: a line is damaged; names it.
        """
        for line, piece in self.lines():
            if line == 1:
                continue
            try:
                rows, values = piece["rows"], piece["values"]
                if len(rows) != len(values):
                    raise KeyError("as many values as rows")
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"not a piece of {SCHEMA}: lacks {error}",
                    "Restore the file, or remove it: its results are computed again",
                    path=self.path,
                    line=line,
                ) from error
            yield rows, values

    def add_piece(self, rows: list[int], values: list[Any]) -> None:
        """Append a piece; it is on disk when this returns."""
        is_new = not self.path.exists() or not self.path.stat().st_size
        self.add([*([self._first] if is_new else []), {"rows": rows, "values": values}])
