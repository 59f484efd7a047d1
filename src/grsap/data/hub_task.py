"""A task from a data set that the `datasets` package loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from grsap.data.columns import ColumnMap, Place
from grsap.data.conversation import MappedTask
from grsap.data.data_sets import DataSet
from grsap.records import Split


def _default_splits() -> dict[Split, str]:
    return {"train": "train", "test": "test"}


@dataclass(eq=False)
class HubTask(MappedTask):
    """Conversations from a data set on the Hugging Face hub, or a folder that `datasets` reads. Needs the extra `hub`.

    The commit of `revision` is resolved once, and recorded in the run's manifest.

    Args:
        path: id or folder, such as `openai/gsm8k`.
        name: configuration, such as `main`.
        revision: branch, tag or commit; give a commit to always get the same rows.
        splits: grsap's split -> the data set's, such as `{"train": "train", "test": "test[:200]"}`.
        columns: grsap's column name -> the data set's, where they differ; grsap's are id, messages, system, prompt,
            response.
        prompt_template: text of the user's turn, with columns in braces, instead of a column.
        response_template: text of the assistant's turn, with columns in braces, instead of a column.
        ignore_columns: columns with parts of a conversation to skip, such as `tools`.
        exact_match: score answers: 1 if they equal the reference answer except for outer white space, else 0.
    """

    path: str
    name: str | None = None
    revision: str | None = None
    splits: dict[Split, str] = field(default_factory=_default_splits)
    columns: dict[str, str] | None = None
    prompt_template: str | None = None
    response_template: str | None = None
    ignore_columns: list[str] | None = None
    exact_match: bool = False

    def __post_init__(self) -> None:
        column_map = ColumnMap(self.columns, self.prompt_template, self.response_template, self.ignore_columns)
        super().__init__(column_map, self.exact_match)
        self.data_set = DataSet(self.path, self.revision)

    def prepare_data(self) -> None:
        """Download on one process, before the others read."""
        for split in self.splits.values():
            self.data_set.load(self.name, split)

    def placed_rows(self, split: Split) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the rows of a split; none if `splits` does not contain it."""
        if split in self.splits:
            yield from self.data_set.rows(self.name, self.splits[split])

    def describe(self) -> dict[str, Any]:
        """Return the data set, its commit and splits, for the manifest."""
        return {**self.data_set.describe(), "names": [self.name] if self.name else None, "splits": {**self.splits}}
