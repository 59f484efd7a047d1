"""A task from files of one's own."""

from __future__ import annotations

from collections.abc import Mapping

from grsap.data.columns import ColumnMap, Place
from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.tables import check_kind, read_table
from grsap.embedded import resolve
from grsap.errors import DataError
from grsap.records import Split


class JSONLTask(ConversationDataModule):
    """Conversations from `.jsonl`, `.csv` or `.parquet` files: `messages`, or `prompt` and `response`.

    Args:
        train_path: file of rows to train on.
        validation_path: file of rows to validate on.
        test_path: file of rows to test on.
        columns: our name to the file's, for names that differ; our names are id, messages, system, prompt, response.
        ignore_columns: columns that hold parts of a conversation and are not to be read, such as `tools`.
        exact_match: mark answers: 1 if they equal the reference answer but for outer white space.
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
        super().__init__()
        paths: dict[Split, str | None] = {"train": train_path, "validation": validation_path, "test": test_path}
        self.paths = {split: resolve(path) for split, path in paths.items() if path is not None}
        self.column_map = ColumnMap(columns, ignore_columns=ignore_columns)
        self.exact_match = exact_match
        self._rows: dict[Split, list[Row]] = {}

    def setup(self, stage: str) -> None:
        """Look for all the files before the first is read.

        Raises:
            DataError: one is missing.
        """
        for split, path in self.paths.items():
            if not path.is_file():
                raise DataError("no such file", f"Check data.task {split}_path", path=path)
            check_kind(path)

    def rows(self, split: Split) -> list[Row]:
        """The rows of the split's file; read once.

        Raises:
            DataError: names the file and line of the first wrong row.
        """
        if split not in self._rows:
            path = self.paths.get(split)
            lines = [] if path is None else read_table(path)
            self._rows[split] = list(
                self.column_map.conversations((Place(str(path), line), row) for line, row in lines)
            )
            if path is not None and not self._rows[split]:
                raise DataError("no row in it", f"Give another data.task {split}_path", path=path)
        return self._rows[split]

    def score(self, response: str, row: Row) -> float:
        """1 if `response` is the reference answer."""
        return exact_match_score(response, row)

    @property
    def has_score(self) -> bool:
        """Whether `exact_match` is set."""
        return self.exact_match


def exact_match_score(response: str, row: Mapping[str, object]) -> float:
    """1 if `response` equals the last turn of `row` but for outer white space, else 0."""
    messages = row["messages"]
    assert isinstance(messages, list)
    return float(response.strip() == messages[-1]["content"].strip())
