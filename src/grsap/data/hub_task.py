"""A task from a data set that the `datasets` package loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from grsap.data.columns import ColumnMap, Place
from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.data_sets import load_split
from grsap.data.jsonl_task import exact_match_score
from grsap.records import Split


def _default_splits() -> dict[Split, str]:
    return {"train": "train", "test": "test"}


@dataclass(eq=False)
class HubTask(ConversationDataModule):
    """Conversations from a data set on the Hugging Face hub, or a folder that `datasets` reads. Needs the extra `hub`.

    Args:
        path: id or folder, such as `openai/gsm8k`.
        name: configuration, such as `main`.
        revision: branch, tag or commit; give a commit to get the same rows for ever.
        splits: our split to the data set's, such as `{"train": "train", "test": "test[:200]"}`.
        columns: our name to the column's; our names are id, messages, system, prompt, response.
        prompt_template: the user's turn as text with columns in braces, instead of a column.
        response_template: the assistant's turn likewise.
        ignore_columns: columns that hold parts of a conversation and are not to be read, such as `tools`.
        exact_match: mark answers: 1 if they equal the reference answer but for outer white space.
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
        super().__init__()
        self.column_map = ColumnMap(self.columns, self.prompt_template, self.response_template, self.ignore_columns)
        self._rows: dict[Split, list[Row]] = {}

    def prepare_data(self) -> None:
        """Download on one process before the others look."""
        for split in self.splits:
            self._load(split)

    def rows(self, split: Split) -> list[Row]:
        """The rows of a split, read once; empty if `splits` does not name it.

        Raises:
            DataError: the data set or split cannot be loaded, or a row is wrong.
        """
        if split not in self._rows:
            data = self._load(split) if split in self.splits else []
            label = f"{self.path} [{self.splits.get(split)}]"
            placed = ((Place(label, number), row) for number, row in enumerate(data, 1))
            self._rows[split] = list(self.column_map.conversations(placed))
        return self._rows[split]

    def score(self, response: str, row: Row) -> float:
        """1 if `response` is the reference answer."""
        return exact_match_score(response, row)

    @property
    def has_score(self) -> bool:
        """Whether `exact_match` is set."""
        return self.exact_match

    def _load(self, split: Split) -> Any:
        return load_split(self.path, self.name, self.revision, self.splits[split])
