"""Read `metrics.csv` of a run."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from grsap.errors import DataError


def read_metrics(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, key, value) for each finite value in `metrics.csv`; skip the partial line of a killed run.

    Raises:
        DataError: the file is not CSV.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in _rows_of(file, path):
            if len(row) != 3 or not is_step(row[0]):
                continue
            try:
                value = float(row[2])
            except ValueError:
                continue
            if math.isfinite(value):
                yield int(row[0]), row[1], value


def _rows_of(file: TextIO, path: Path) -> Iterator[list[str]]:
    try:
        yield from csv.reader(file)
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", "Restore the file, or leave the run out", path=path) from error


def is_step(text: str) -> bool:
    """Return whether a text is a step: 1 to 12 digits."""
    return re.fullmatch(r"[0-9]{1,12}", text) is not None
