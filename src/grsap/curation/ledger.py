"""The decisions on all rows so far, as arrays, and the rows with these decisions applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from grsap.curation.decision import Decision, RevisedResponse
from grsap.curation.raw_rows import LABELS, RawRows
from grsap.files import hash_json
from grsap.records import JudgeInfo, Message, SafetyRecord

KEPT = -1
_UNSET = -1


class Ledger:
    """State of N rows.

    Args:
        raw: the rows.

    Attributes:
        rejected_by: (N,) number of the step that rejected each row, or `KEPT`.
        revised: revised responses by row number.
        judge: the judge that gave labels, if any.
    """

    def __init__(self, raw: RawRows) -> None:
        self.raw = raw
        self.rejected_by = np.full(len(raw), KEPT, np.int16)
        self.revised: dict[int, RevisedResponse] = {}
        self.judge: JudgeInfo | None = None
        self._reason = np.full(len(raw), _UNSET, np.int16)
        self._reasons: list[str] = []
        self._scores: dict[str, NDArray[np.float64]] = {}
        self._labels = {name: raw.label_codes[:, place].copy() for place, name in enumerate(LABELS)}
        self._judged = np.zeros(len(raw), bool)
        self._related: dict[int, str] = {}

    @property
    def texts_version(self) -> str:
        """Hash of the revised responses: identifies the current texts."""
        return hash_json(sorted((number, each.response) for number, each in self.revised.items()))

    def rows(self, taken: frozenset[str] = frozenset()) -> Rows:
        """Return the rows not yet rejected, or those rejected for one of the reasons `taken`."""
        if taken:
            codes = [code for code, reason in enumerate(self._reasons) if reason in taken]
            chosen = np.isin(self._reason, codes) & (self.rejected_by != KEPT)
        else:
            chosen = self.rejected_by == KEPT
        return Rows(self, np.flatnonzero(chosen))

    def apply(self, number: int, decision: Decision, step: int) -> None:
        """Record a step's decision on a row. `Filter.checked_decisions` has checked its reason and scores.

        Raises:
            KeyError, ValueError: a label, or its value, does not exist.
        """
        self.rejected_by[number] = KEPT if decision.keep else step
        self._reason[number] = _UNSET if decision.reason is None else self._code(decision.reason)
        for name, value in decision.scores.items():
            column = self._scores.setdefault(name, np.full(len(self.raw), np.nan))
            column[number] = value
        for name, value in decision.labels.items():
            self._labels[name][number] = LABELS[name].index(value)
        if decision.judge is not None:
            self.judge, self._judged[number] = decision.judge, True
        self._related.pop(number, None)
        if decision.related_id is not None:
            self._related[number] = decision.related_id
        if decision.revision is not None:
            self.revised[number] = decision.revision

    def reason(self, number: int) -> str | None:
        """Return why the row was rejected; None if it is kept."""
        code = self._reason[number]
        return None if code == _UNSET else self._reasons[code]

    def related_id(self, number: int) -> str | None:
        """Return the id that the rejection names."""
        return self._related.get(number)

    def label(self, number: int, name: str) -> Any:
        """Return the label that a filter set last, or the row's."""
        return LABELS[name][self._labels[name][number]]

    def labels(self, number: int) -> dict[str, Any]:
        """Return all labels by name."""
        return {name: self.label(number, name) for name in LABELS}

    def scores(self, number: int) -> dict[str, float]:
        """Return the scores that filters gave, by name."""
        return {name: float(column[number]) for name, column in self._scores.items() if not np.isnan(column[number])}

    def record(self, number: int) -> SafetyRecord:
        """Return the row with its current labels, scores and revised response."""
        record = self.raw.record(number)
        changes: dict[str, Any] = self.labels(number)
        changes["scores"] = {**record.scores, **self.scores(number)}
        if self._judged[number]:
            changes["judge"] = self.judge
        revision = self.revised.get(number)
        if revision is not None:
            turn: Message = {"role": "assistant", "content": revision.response}
            changes["messages"] = [*record.messages[:-1], turn]
            changes["history"] = [*record.history, dict(revision.history)]
            changes["finish_reason"] = "stop"
        return replace(record, **changes)

    def _code(self, reason: str) -> int:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)


class Rows(Sequence[SafetyRecord]):
    """Rows of a ledger in the order of their ids, read from disk on access.

    Attributes:
        numbers: (M,) row numbers.
    """

    def __init__(self, ledger: Ledger, numbers: NDArray[np.intp]) -> None:
        self.numbers = numbers
        self._ledger = ledger

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> SafetyRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> SafetyRecord | Rows:
        if isinstance(index, slice):
            return Rows(self._ledger, self.numbers[index])
        return self._ledger.record(int(self.numbers[index]))

    def __iter__(self) -> Iterator[SafetyRecord]:
        return (self._ledger.record(int(number)) for number in self.numbers)

    @property
    def texts_version(self) -> str:
        """Identifies the current texts of all rows of the ledger."""
        return self._ledger.texts_version

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows where the mask (M,) is true."""
        return Rows(self._ledger, self.numbers[mask])

    def only(self, numbers: Iterable[int]) -> Rows:
        """Return the rows with these numbers."""
        return self.where(np.isin(self.numbers, list(numbers)))

    @property
    def ids(self) -> list[str]:
        """Id of each row."""
        return [self._ledger.raw.ids[number] for number in self.numbers]

    @property
    def domains(self) -> list[str]:
        """Domain of each row."""
        raw = self._ledger.raw
        return [raw.domains[place] for place in raw.domain_of[self.numbers]]
