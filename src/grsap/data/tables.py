"""Rows of JSONL, CSV and Parquet files, with their places."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from grsap.data.columns import Place
from grsap.errors import DataError, MissingPackageError
from grsap.json_text import MAX_BYTES
from grsap.records import read_jsonl

MAX_CELL_CHARACTERS = 10_000_000
PARQUET_ROWS = 256
"""Number of rows that are decompressed together."""
MAX_BATCH_BYTES = 2**30
"""Limit of their decompressed size: a small file can contain any number of equal cells."""


def read_table(path: str | Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield each row of a `.jsonl`, `.csv` or `.parquet` file with its place (line or row number from 1).

    Memory does not grow with the number of rows.

    Raises:
        DataError: the file is missing, of another kind, not UTF-8, has two columns of one name, or a line cannot be
            read.
        MissingPackageError: Parquet without pyarrow.
    """
    path = Path(path)
    check_file(path)
    try:
        for line, row in READERS[path.suffix.lower()](path):
            yield Place(path, line), row
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 ({error.reason} at byte {error.start})", "Save it as UTF-8", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", "Check its permissions", path=path) from error


def check_file(path: Path) -> None:
    """Raise DataError unless the file exists and has a suffix that `read_table` knows."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        remedies = {".gz": "Unpack it first", ".json": "Write one JSON object per line into a .jsonl file"}
        raise DataError(
            f"unsupported kind of file: {suffix or 'no suffix'}",
            remedies.get(suffix, f"Use {', '.join(READERS)}"),
            path=path,
        )
    if not path.is_file():
        raise DataError("no such file", "Check the path; it is taken from the working directory", path=path)


def _check_columns(names: Sequence[str], path: Path) -> None:
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise DataError(f"the column {twice[0]!r} occurs twice", "Rename or remove one of the two", path=path)


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a CSV file with a header, numbered by the line on which they begin. Empty lines are skipped."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_bounded_lines(file, path), strict=True)
        header: list[str] | None = None
        line = 1
        try:
            for cells in reader:
                begin, line = line, reader.line_num + 1
                if not cells:
                    continue
                if any("\0" in cell for cell in cells):
                    raise DataError("contains a NUL character", "Save the file as UTF-8 text", path=path, line=begin)
                if header is None:
                    header = cells
                    _check_columns(header, path)
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"the row has {len(cells)} cells, but the header has {len(header)}",
                        "Quote cells that contain commas or line breaks",
                        path=path,
                        line=begin,
                    )
                yield begin, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            remedy = "Quote cells that contain quotes, and double the quotes in them"
            if "field limit" in str(error):
                remedy = "Close the quotes, or shorten the cell"
            raise DataError(f"not CSV ({error})", remedy, path=path, line=line) from error


def _bounded_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a file, with a limit on their length: `csv` checks cells only after it has read a line."""
    number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            raise DataError(
                f"longer than {MAX_BYTES // 2**20} MiB", "Close the quotes, or shorten the line", path=path, line=number
            )
        yield line


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingPackageError(
            f"{path} is a Parquet file, but pyarrow is not installed", "Install grsap with the extra `table`"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path)
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                if batch.nbytes > MAX_BATCH_BYTES:
                    raise DataError(
                        f"rows {number + 1} to {number + len(batch)} take more than {MAX_BATCH_BYTES // 2**20} MiB",
                        "Remove columns that are not used, or shorten the cells",
                        path=path,
                    )
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except ArrowException as error:
        raise DataError(f"not a Parquet file ({error})", "Write it again", path=path) from error


Reader = Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]

READERS: dict[str, Reader] = {".jsonl": read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
