"""Runs an import: writes the rows of a file or a Hub data set as a replay set with a manifest."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap import __version__
from grsap.appending import json_line
from grsap.checksums import read_checked_json, write_checked_json
from grsap.console import Console
from grsap.errors import DataError, RunFolderError
from grsap.files import atomic_writer, hash_file, hash_json
from grsap.importing.importing import Import
from grsap.importing.row_reader import RowReader
from grsap.progress import progress_line
from grsap.records import SafetyRecord

SCHEMA = "grsap.import/1"
MANIFEST = "manifest.json"
REPLAY = "replay.jsonl"


@dataclass
class _Counts:
    """Number of rows by outcome."""

    num_read: int = 0
    num_excluded: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)


def run_import(settings: Import, output_dir: Path) -> None:
    """Write the replay set atomically, then its manifest; print the counts of rows.

    Raises:
        DataError: the source cannot be read, a row is wrong, or no row is left.
        RunFolderError: the folder cannot be written, or contains another import.
    """
    source = settings.source.describe()
    manifest = _finished(output_dir, source)
    if manifest is None:
        manifest = _import(settings, output_dir, source)
    _print_counts(manifest, output_dir)


def _import(settings: Import, output_dir: Path, source: dict[str, Any]) -> dict[str, Any]:
    counts, reader = _Counts(), RowReader(settings)
    num_rows = 0
    output_dir.mkdir(parents=True, exist_ok=True)
    with atomic_writer(output_dir / REPLAY, mode=0o600) as file:
        for record in _drawn(settings, reader, counts):
            file.write(json_line(record.to_dict()))
            counts.domains[record.domain] += 1
            num_rows += 1
        if not num_rows:
            raise _no_row(settings, reader, counts)
        if settings.source.describe() != source:
            raise DataError(f"{source['path']} was changed while it was read", "Start again when nothing writes to it")
    manifest = {
        "schema": SCHEMA,
        "grsap": __version__,
        "source": source,
        "limit": settings.limit,
        "seed": settings.seed,
        "num_read": counts.num_read,
        "num_excluded": dict(sorted(counts.num_excluded.items())),
        "domains": dict(sorted(counts.domains.items())),
        "files": {REPLAY: {"num_rows": num_rows, "hash": hash_file(output_dir / REPLAY)}},
    }
    write_checked_json(output_dir / MANIFEST, manifest)
    return manifest


def _records(settings: Import, reader: RowReader, counts: _Counts) -> Iterator[SafetyRecord]:
    """Yield the rows that are not excluded, in the order of the source; of equal conversations only the first."""
    conversations: set[int] = set()
    ids: set[int] = set()
    with progress_line("Rows") as advance:
        for place, row in settings.source.rows():
            counts.num_read += 1
            advance()
            found = reader.read(row, place)
            if isinstance(found, str):
                counts.num_excluded[found] += 1
                continue
            conversation, row_id = int(hash_json(found.messages), 16), int(hash_json(found.id), 16)
            if conversation in conversations:
                counts.num_excluded["repeated"] += 1
                continue
            if row_id in ids:
                raise place.error(f"the id {found.id!r} occurs twice", "Leave out columns.id")
            conversations.add(conversation)
            ids.add(row_id)
            yield found
    if conversations:
        reader.end()


def _drawn(settings: Import, reader: RowReader, counts: _Counts) -> Iterator[SafetyRecord]:
    """Yield all rows, or `limit` of them, in their order. Which ones are drawn does not depend on the order."""
    if settings.limit is None:
        yield from _records(settings, reader, counts)
        return
    heap: list[tuple[int, int, SafetyRecord]] = []
    for number, record in enumerate(_records(settings, reader, counts)):
        rank = -int(hash_json([settings.seed, record.id]), 16)  # negative: the heap's first has the greatest hash
        if len(heap) < settings.limit:
            heapq.heappush(heap, (rank, number, record))
        else:
            heapq.heappushpop(heap, (rank, number, record))
            counts.num_excluded["not_drawn"] += 1
    yield from (record for _, _, record in sorted(heap, key=lambda entry: entry[1]))


def _no_row(settings: Import, reader: RowReader, counts: _Counts) -> DataError:
    if reader.first_wrong is not None:
        return reader.first_wrong
    reasons = ", ".join(f"{num} {reason}" for reason, num in counts.num_excluded.items()) or "it has no rows"
    return DataError(f"{settings.source.path}: no row is left ({reasons})", "Check where, without and the labels")


def _finished(output_dir: Path, source: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished import of this source; None if there is none.

    Raises:
        DataError: the manifest is damaged.
        RunFolderError: the source or the replay set was changed since.
    """
    manifest = read_checked_json(output_dir / MANIFEST)
    if manifest is None or not (output_dir / REPLAY).is_file():
        return None
    if manifest["source"] != source:
        raise RunFolderError(
            f"{output_dir} contains an import of {manifest['source']}, but the source is now {source}",
            "Restore the source, or choose another folder with --output_dir",
        )
    if manifest["files"][REPLAY]["hash"] != hash_file(output_dir / REPLAY):
        raise RunFolderError(
            f"{output_dir / REPLAY} was changed after it was imported",
            "Keep it under another name, or choose another folder with --output_dir",
        )
    return manifest


def _print_counts(manifest: dict[str, Any], output_dir: Path) -> None:
    """Print the number of rows by outcome."""
    table = Table(title=f"Import of {manifest['source']['path']}", title_justify="left")
    table.add_column("rows")
    table.add_column("number", justify="right")
    taken = manifest["files"][REPLAY]["num_rows"]
    for name, number in [("read", manifest["num_read"]), *manifest["num_excluded"].items(), ("taken", taken)]:
        table.add_row(Text(name), f"{number:,}")
    console = Console()
    console.print(table)
    console.print_line(f"Replay set: {output_dir / REPLAY}")
