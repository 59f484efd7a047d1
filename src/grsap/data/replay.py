"""The replay set: safety conversations that preserve the alignment of a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lightning.pytorch import LightningDataModule

from grsap.data.replay_formats import read_row
from grsap.data.tables import read_table
from grsap.embedded import resolve
from grsap.errors import DataError
from grsap.files import hash_file
from grsap.json_text import read_json
from grsap.records import PlacedRow, SafetyRecord

MANIFEST_NAME = "manifest.json"


class ReplayDataModule(LightningDataModule):
    """Safety conversations from a JSONL, CSV or Parquet file.

    Its rows are `grsap.safety/1` records, Hugging Face `messages`, or have the columns query, response, domain,
    difficulty, is_safe. Rows that are unsafe, cut by the length limit, unlabelled or without text are skipped and
    counted.

    Args:
        path: the file, or `embedded:quickstart/replay.jsonl`.
        require_manifest: require that `manifest.json` beside the file lists it. If the manifest lists the file, its
            hash and number of rows are always checked.
        ignore_columns: columns with parts of a conversation to skip, such as `tools`.

    Attributes:
        records: the rows, after `setup`.
        lines: line numbers of `records` in the file.
        num_excluded: number of skipped rows, by reason.
        file_hash: hash of the file, after `setup`.
    """

    def __init__(self, path: str, require_manifest: bool = False, ignore_columns: list[str] | None = None) -> None:
        super().__init__()
        self.path = resolve(path)
        self.require_manifest = require_manifest
        self.ignore_columns = frozenset(ignore_columns or ())
        self.records: list[SafetyRecord] = []
        self.lines: list[int] = []
        self.num_excluded: Counter[str] = Counter()
        self.file_hash = ""

    def setup(self, stage: str) -> None:
        """Read and check the file; a second call does nothing.

        Raises:
            DataError: a row is wrong, two rows have one id, the file differs from its manifest, or no row is left.
        """
        if self.records:
            return
        records: dict[str, SafetyRecord] = {}
        lines: list[int] = []
        excluded: Counter[str] = Counter()
        for place, row in read_table(self.path):
            found = read_row(row, place, self.ignore_columns)
            if isinstance(found, str):
                excluded[found] += 1
                continue
            if found.id in records:
                raise place.error(f"the id {found.id!r} occurs twice", "Give each row an id of its own")
            records[found.id] = found
            lines.append(place.line)
        num_rows = len(records) + excluded.total()
        if not records:
            reasons = ", ".join(f"{num} {reason}" for reason, num in excluded.items()) or "the file is empty"
            raise DataError(f"no row to replay ({reasons})", "Give another data.replay.path", path=self.path)
        self.file_hash = hash_file(self.path)
        check_manifest(self.path, num_rows, self.file_hash, required=self.require_manifest)
        self.records, self.lines, self.num_excluded = list(records.values()), lines, excluded

    def rows(self) -> list[PlacedRow]:
        """Return `id` and `messages` of the records, with their places in the file if known."""
        lines = self.lines if len(self.lines) == len(self.records) else range(1, len(self.records) + 1)
        return [
            PlacedRow({"id": record.id, "messages": record.messages}, self.path, line)
            for record, line in zip(self.records, lines, strict=True)
        ]


def check_manifest(path: Path, num_rows: int, file_hash: str, *, required: bool) -> None:
    """Compare a file with its entry `files[name]` = {num_rows, hash} in the manifest beside it.

    Raises:
        DataError: the manifest cannot be read or differs from the file, or is required and does not list the file.
    """
    manifest_path = path.with_name(MANIFEST_NAME)
    try:
        manifest = read_json(manifest_path)
        files = manifest.get("files")
        entry = files.get(path.name) if isinstance(files, dict) else None
    except FileNotFoundError:
        entry = None
    except (ValueError, AttributeError) as error:
        raise DataError(f"not a manifest ({error})", "Remove it or write it again", path=manifest_path) from error
    if entry is None:
        if required:
            raise DataError(
                f"no entry for {path.name}, and require_manifest is set",
                "Use the manifest of the run that made the file, or set data.replay.require_manifest to false",
                path=manifest_path,
            )
        return
    for key, found in (("num_rows", num_rows), ("hash", file_hash)):
        if entry.get(key) != found:
            raise DataError(
                f"{key} is {found}, but {MANIFEST_NAME} says {entry.get(key)}",
                "The file is not the original: fetch it again, or remove the manifest if you changed the file",
                path=path,
            )
