"""A filter's decision on a row, and the parts of a row that decisions are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grsap.records import JudgeInfo, SafetyRecord


@dataclass(frozen=True)
class Decision:
    """A filter's answer on one row.

    Attributes:
        keep: whether the row stays.
        reason: why not, in snake_case; None if it stays.
        scores: finite numbers by name; they go into the row's `scores`.
        labels: keys of the row that the filter sets: `prompt_harmful`, `response_harmful`, `response_refusal`,
            `behaviour`, `difficulty`.
        related_id: of the row because of which this one is rejected, such as the one that it repeats.
        revision: a response that takes the place of the row's own.
        judge: who gave the labels, if it was one.
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
    """A response that replaces the row's own, and the entry for the row's `history`."""

    response: str
    history: Mapping[str, Any]


def keep(**scores: float) -> Decision:
    """The row stays."""
    return Decision(scores=scores)


def reject(reason: str, **scores: float) -> Decision:
    """The row goes, because of `reason`."""
    return Decision(False, reason, scores)


def query_of(row: SafetyRecord) -> str:
    """The last user turn; empty if it is null."""
    return row.messages[-2]["content"] or ""


def response_of(row: SafetyRecord) -> str:
    """The last turn; empty if it is null."""
    return row.messages[-1]["content"] or ""


def is_meant_harmless(row: SafetyRecord) -> bool:
    """Whether the row was asked for as a harmless counterpart, or labelled as one where it comes from."""
    return row.behaviour == "benign_answer" or row.prompt_harmful is False
