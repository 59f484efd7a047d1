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

    The commit that `revision` names is looked up once, and recorded in the run's manifest.

    Args:
        path: id or folder, such as `openai/gsm8k`.
        name: configuration, such as `main`.
        revision: branch, tag or commit; give a commit to get the same rows for ever.
        splits: our split to the data set's, such as `{"train": "train", "test": "test[:200]"}`.
        columns: our name to the column's; our names are id, messages, system, prompt, response.
        prompt_template: the user's turn as text with columns in braces, instead of a column.
        response_template: the assistant's turn likewise.
        ignore_columns: columns that hold parts of a conversation and are not to be read, such as `tools`.
        exact_match: score answers: 1 if they equal the reference answer except for outer white space.
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
        """Download on one process before the others read."""
        for split in self.splits.values():
            self.data_set.load(self.name, split)

    def placed_rows(self, split: Split) -> Iterator[tuple[Place, dict[str, Any]]]:
        """The rows of a split; none if `splits` does not name it."""
        if split in self.splits:
            yield from self.data_set.rows(self.name, self.splits[split])

    def describe(self) -> dict[str, Any]:
        """The data set, its commit and splits, for the manifest."""
        return {**self.data_set.describe(), "names": [self.name] if self.name else None, "splits": {**self.splits}}
