"""A filter's decision on a row, and accessors for the texts of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grsap.records import JudgeInfo, SafetyRecord


@dataclass(frozen=True)
class Decision:
    """A filter's decision on one row.

    Attributes:
        keep: whether the row is kept.
        reason: why it is rejected, in snake_case; None if it is kept.
        scores: finite numbers by name, added to the row's `scores`.
        labels: keys of the row that the filter sets: `prompt_harmful`, `response_harmful`, `response_refusal`,
            `behaviour`, `difficulty`.
        related_id: id of the row that this one is rejected for, such as the one that it duplicates.
        revision: a response that replaces the row's.
        judge: the judge that gave the labels, if any.
    """

    keep: bool = True
    reason: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    related_id: str | None = None
    revision: RevisedResponse | None = None
    judge: JudgeInfo | None = None


@dataclass(frozen=True)
class RevisedResponse:
    """A response that replaces the row's, and the entry for the row's `history`."""

    response: str
    history: Mapping[str, Any]


def keep(**scores: float) -> Decision:
    """Keep the row."""
    return Decision(scores=scores)


def reject(reason: str, **scores: float) -> Decision:
    """Reject the row for `reason`."""
    return Decision(False, reason, scores)


def query_of(row: SafetyRecord) -> str:
    """Return the last user turn; empty if it is null."""
    return row.messages[-2]["content"] or ""


def response_of(row: SafetyRecord) -> str:
    """Return the last turn; empty if it is null."""
    return row.messages[-1]["content"] or ""


def is_meant_harmless(row: SafetyRecord) -> bool:
    """Return whether the row was synthesised as a harmless counterpart, or its source labels the request harmless."""
    return row.behaviour == "benign_answer" or row.prompt_harmful is False
