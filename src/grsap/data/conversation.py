"""The plug-in interface of tasks: a class with one method to implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule

from grsap.data.columns import ColumnMap, Place
from grsap.plugins import PluginError, described, is_finite
from grsap.records import PlacedRow, Split

Row = Mapping[str, Any]
"""A conversation: `messages` (list of {role, content}), optionally `id`, and whatever `score` needs."""


class ConversationDataModule(LightningDataModule, ABC):
    """A set of conversations to learn from.

    Implement `rows`. Implement `score` too if answers can be scored: task scores then appear in checks and tables.
    Download files in Lightning's `prepare_data`.
    """

    @abstractmethod
    def rows(self, split: Split) -> Iterable[Row]:
        """Return the rows of a split, in a fixed order. The last turn of each is the assistant's reference answer.

        Args:
            split: `train`, `validation` or `test`; return an empty list for a split that does not exist.
        """

    def score(self, response: str, row: Row) -> float:
        """Score an answer to `row`, in [0, 1]; 1 is right."""
        raise NotImplementedError

    def checked_score(self, response: str, row: Row) -> float:
        """Call `score` and check its result.

        Raises:
            PluginError: the result is no number in [0, 1].
        """
        score: Any = self.score(response, row)
        if not (isinstance(score, bool) or is_finite(score)) or not 0 <= score <= 1:
            shown = repr(score) if isinstance(score, (str, int, float)) else described(score)
            raise PluginError(self, "score", f"returns {shown}", "Return a number in [0, 1]; 1 is right")
        return float(score)

    @property
    def has_score(self) -> bool:
        """Whether this task can score answers."""
        return type(self).score is not ConversationDataModule.score

    def describe(self) -> dict[str, Any]:
        """Describe the origin of the rows in JSON values, for the run's manifest; by default nothing."""
        return {}


class MappedTask(ConversationDataModule):
    """A task whose conversations are read from columns. Implement `placed_rows`.

    Args:
        column_map: maps columns to conversations.
        exact_match: score answers by equality with the reference answer.
    """

    def __init__(self, column_map: ColumnMap, exact_match: bool) -> None:
        super().__init__()
        self.column_map = column_map
        self.exact_match = exact_match
        self._rows: dict[Split, list[PlacedRow]] = {}

    @abstractmethod
    def placed_rows(self, split: Split) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the rows of a split as stored, with their places."""

    def rows(self, split: Split) -> list[PlacedRow]:
        """Return the conversations of a split; they are read once.

        Raises:
            DataError: a row is wrong; names the place of the first.
        """
        if split not in self._rows:
            self._rows[split] = self.column_map.conversations(self.placed_rows(split))
        return self._rows[split]

    def score(self, response: str, row: Row) -> float:
        """Return 1 if `response` equals the last turn of `row` except for outer white space, else 0."""
        return float(response.strip() == row["messages"][-1]["content"].strip())

    @property
    def has_score(self) -> bool:
        """Whether `exact_match` is set."""
        return self.exact_match
