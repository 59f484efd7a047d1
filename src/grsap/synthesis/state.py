"""Progress and counts of a synthesis: rebuilt from its files, then updated while it runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from grsap.errors import DataError
from grsap.records import SafetyRecord
from grsap.synthesis.elicitation import Kind
from grsap.synthesis.query_parsing import OF_RESPONSES
from grsap.synthesis.raw_folder import ATTEMPTS, Attempt, RawFolder


@dataclass
class Tally:
    """Counts of attempts, their outcomes, rows and generated tokens."""

    num_asked: int = 0
    num_usable: int = 0
    num_rows: int = 0
    num_cut: int = 0
    num_query_tokens: int = 0
    num_response_tokens: int = 0
    num_unusable: Counter[str] = field(default_factory=Counter)

    @property
    def num_tokens(self) -> int:
        """Generated tokens of queries and responses."""
        return self.num_query_tokens + self.num_response_tokens

    @property
    def yield_(self) -> float | None:
        """Share of usable queries among attempts; None without attempts."""
        return self.num_usable / self.num_asked if self.num_asked else None

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        for name in ("asked", "usable", "rows", "cut", "query_tokens", "response_tokens"):
            setattr(self, f"num_{name}", getattr(self, f"num_{name}") + getattr(other, f"num_{name}"))
        self.num_unusable.update(other.num_unusable)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as the manifest lists them."""
        return {
            "num_asked": self.num_asked,
            "num_usable": self.num_usable,
            "yield": None if self.yield_ is None else round(self.yield_, 4),
            "num_unusable": dict(sorted(self.num_unusable.items())),
            "num_rows": self.num_rows,
            "num_cut": self.num_cut,
            "num_query_tokens": self.num_query_tokens,
            "num_response_tokens": self.num_response_tokens,
        }


class SynthesisState:
    """For each row: whether it has a query, how many attempts failed, and whether it is answered.

    Args:
        keep_rows: whether to keep the rows themselves in memory, for a survival rule.
    """

    def __init__(self, keep_rows: bool = False) -> None:
        self.tallies: dict[tuple[str, Kind], Tally] = {}
        self.num_tokens: Counter[str] = Counter()
        self._queries: dict[str, Attempt] = {}
        self._num_failed: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._places: dict[str, tuple[str, Kind, int]] = {}
        self._keep_rows = keep_rows
        self._rows: dict[str, dict[int, SafetyRecord]] = {}

    @classmethod
    def read(cls, folder: RawFolder, keep_rows: bool = False) -> SynthesisState:
        """Rebuild the state from a folder's files.

        Raises:
            DataError: a line is damaged, a row occurs twice, or a row has no attempt.
        """
        state = cls(keep_rows)
        for attempt in folder.attempts():
            state.add_attempt(attempt)
        for row in folder.rows():
            if state.is_answered(row.id) or row.id not in state._queries:
                why = "occurs twice in its shards" if state.is_answered(row.id) else f"has no attempt in {ATTEMPTS}"
                raise DataError(
                    f"row {row.id} {why}", "Restore the folder, or choose another --output_dir", path=folder.path
                )
            state.add_row(row)
        return state

    def add_attempt(self, attempt: Attempt) -> None:
        """Record an attempt."""
        tally = self._tally(attempt.domain, attempt.kind)
        self._places[attempt.id] = intern(attempt.domain), attempt.kind, attempt.index
        if attempt.reason in OF_RESPONSES:
            tally.num_response_tokens += attempt.num_tokens
        else:
            tally.num_asked += 1
            tally.num_query_tokens += attempt.num_tokens
        self.num_tokens[attempt.id] += attempt.num_tokens
        if attempt.reason is None:
            tally.num_usable += 1
            self._queries[attempt.id] = attempt
            return
        tally.num_unusable[attempt.reason] += 1
        self._num_failed[attempt.id] = attempt.attempt + 1
        self._queries.pop(attempt.id, None)

    def add_row(self, row: SafetyRecord) -> None:
        """Record a row, after the attempt that gave its query."""
        domain, kind, index = self._places[row.id]
        tally = self._tally(domain, kind)
        num_tokens = int(row.scores.get("num_response_tokens", 0))
        tally.num_rows += 1
        tally.num_cut += row.finish_reason == "length"
        tally.num_response_tokens += num_tokens
        self.num_tokens[row.id] += num_tokens
        self._answered.add(row.id)
        self._queries.pop(row.id, None)  # texts of answered queries would fill the memory
        if self._keep_rows and kind == "harmful":
            self._rows.setdefault(domain, {})[index] = row

    def is_answered(self, row_id: str) -> bool:
        """Whether the row is written."""
        return row_id in self._answered

    def query(self, row_id: str) -> Attempt | None:
        """Return the attempt that gave the query of a row without a response; None if there is none."""
        return self._queries.get(row_id)

    def usable_query(self, row_id: str) -> Attempt:
        """Return the attempt that gave the query of a row; there must be one."""
        return self._queries[row_id]

    def num_failed(self, row_id: str) -> int:
        """Count the failed attempts of a row, which is the number of its next attempt."""
        return self._num_failed[row_id]

    def num_given_up(self, max_attempts: int) -> int:
        """Count the rows without a query after `max_attempts` attempts."""
        return sum(
            failed >= max_attempts and row_id not in self._queries for row_id, failed in self._num_failed.items()
        )

    def rows_before(self, domain: str, stop: int) -> list[SafetyRecord]:
        """Return a domain's rows with indices below `stop`, in order, without harmless counterparts."""
        return [row for index, row in sorted(self._rows.get(domain, {}).items()) if index < stop]

    def _tally(self, domain: str, kind: Kind) -> Tally:
        return self.tallies.setdefault((domain, kind), Tally())
