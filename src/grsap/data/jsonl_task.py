"""A task read from files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grsap.data.columns import ColumnMap, Place
from grsap.data.conversation import MappedTask
from grsap.data.tables import check_file, read_table
from grsap.embedded import resolve
from grsap.errors import DataError
from grsap.files import hash_file
from grsap.records import Split


class JSONLTask(MappedTask):
    """Conversations from `.jsonl`, `.csv` or `.parquet` files: `messages`, or `prompt` and `response`.

    Args:
        train_path: file of training rows.
        validation_path: file of validation rows.
        test_path: file of test rows.
        columns: grsap's column name -> the file's, where they differ; grsap's are id, messages, system, prompt,
            response.
        ignore_columns: columns with parts of a conversation to skip, such as `tools`.
        exact_match: score answers: 1 if they equal the reference answer except for outer white space, else 0.
    """

    def __init__(
        self,
        train_path: str,
        validation_path: str | None = None,
        test_path: str | None = None,
        columns: dict[str, str] | None = None,
        ignore_columns: list[str] | None = None,
        exact_match: bool = False,
    ) -> None:
        super().__init__(ColumnMap(columns, ignore_columns=ignore_columns), exact_match)
        paths: dict[Split, str | None] = {"train": train_path, "validation": validation_path, "test": test_path}
        self.paths = {split: resolve(path) for split, path in paths.items() if path is not None}

    def setup(self, stage: str) -> None:
        """Check that all files exist before the first is read; raises DataError, which names the argument."""
        for split, path in self.paths.items():
            try:
                check_file(path)
            except DataError as error:
                error.reword(f"{split}_path {error.problem}")
                error.part = self
                raise

    def placed_rows(self, split: Split) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the rows of the split's file; none for a split without a file."""
        path = self.paths.get(split)
        if path is None:
            return
        is_empty = True
        for placed in read_table(path):
            is_empty = False
            yield placed
        if is_empty:
            raise DataError("no row in it", f"Give another {split}_path", path=path)

    def describe(self) -> dict[str, Any]:
        """Return name and hash of each split's file, for the manifest."""
        return {split: {"path": path.name, "hash": hash_file(path)} for split, path in self.paths.items()}
