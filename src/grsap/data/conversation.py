"""The plug-in contract: a task is one class with one method to write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule

from grsap.plugins import PluginError, described, is_finite
from grsap.records import Split

Row = Mapping[str, Any]
"""A conversation: `messages` (list of {role, content}), optionally `id`, and whatever `score` needs."""


class ConversationDataModule(LightningDataModule, ABC):
    """A set of conversations to learn from.

    Write `rows`; write `score` too if answers can be marked, and task scores appear in checks and tables.
    Files may be fetched in Lightning's `prepare_data`.
    """

    @abstractmethod
    def rows(self, split: Split) -> Iterable[Row]:
        """The rows of a split, in a fixed order. The last turn of each is the assistant's (the reference answer).

        Args:
            split: `train`, `validation` or `test`; return an empty list for a split that does not exist.
        """

    def score(self, response: str, row: Row) -> float:
        """Mark an answer to `row`, in [0, 1]; 1 is right."""
        raise NotImplementedError

    def checked_score(self, response: str, row: Row) -> float:
        """What `score` returns.

        Raises:
            PluginError: it is no number in [0, 1].
        """
        score: Any = self.score(response, row)
        if not (isinstance(score, bool) or is_finite(score)) or not 0 <= score <= 1:
            shown = repr(score) if isinstance(score, (str, int, float)) else described(score)
            raise PluginError(self, "score", f"returns {shown}", "Return a number in [0, 1]; 1 is right")
        return float(score)

    @property
    def has_score(self) -> bool:
        """Whether this task can mark answers."""
        return type(self).score is not ConversationDataModule.score
