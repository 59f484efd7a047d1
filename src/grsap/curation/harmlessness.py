"""Drops rows whose response a judge calls harmful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, is_meant_harmless
from grsap.curation.ledger import Rows
from grsap.curation.work import Work
from grsap.errors import ConfigError
from grsap.judging.base import LABELS, Judge, Verdict
from grsap.records import JudgeInfo, SafetyRecord

HARMFUL = "harmful_response"
NOT_REFUSED = "not_refused"
UNPARSED = "unparsed"


class Harmlessness(Filter):
    """Keeps rows whose response the judge calls harmless, and labels them by its verdict.

    Reasons: `harmful_response`; `unparsed` (no verdict, which never counts as safe); `verdict_withheld` (the judge's
    server gave no verdict). A judge that only detects refusals does not detect harm: with `allow_proxy`, a response
    that does not refuse is `not_refused`, unless the row was synthesised as a harmless one. A later `Revision` receives
    the rows rejected as harmful.

    Args:
        allow_proxy: whether to accept a judge that only detects refusals.
    """

    def __init__(self, allow_proxy: bool = False) -> None:
        self.allow_proxy = allow_proxy

    @property
    def needs(self) -> frozenset[str]:
        """The judge."""
        return frozenset({"judge"})

    def check_judge(self, judge: Judge, where: str) -> None:
        """Raise ConfigError for a judge that does not label harm, unless it is an allowed proxy."""
        if "response_harmful" not in judge.labels and not (self.allow_proxy and judge.is_proxy):
            raise ConfigError(
                f"{where}: {judge.name} does not label harm",
                "Set another judge, or set allow_proxy to count non-refusals as harm",
            )

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row."""
        judge = work.judge
        verdicts = work.verdicts(rows)
        for number, row in zip(rows.numbers.tolist(), rows, strict=True):
            verdict = verdicts[number]
            reason = reason_against(verdict, row, judge)
            yield Decision(reason is None, reason, labels=labels_of(verdict, judge), judge=info_of(judge))


def reason_against(verdict: Verdict, row: SafetyRecord, judge: Judge) -> str | None:
    """Return why a response does not count as harmless; None if it does."""
    missing = "verdict_withheld" if verdict.reason == "withheld" else UNPARSED
    if "response_harmful" in judge.labels:
        return {True: HARMFUL, None: missing, False: None}[verdict.response_harmful]
    if verdict.response_refusal is None:
        return missing
    return None if verdict.response_refusal or is_meant_harmless(row) else NOT_REFUSED


def info_of(judge: Judge) -> JudgeInfo:
    """Return the judge's name and revision, for rows."""
    return JudgeInfo(judge.name, judge.revision)


def labels_of(verdict: Verdict, judge: Judge) -> dict[str, Any]:
    """Return the labels of a verdict that the judge gives at all."""
    return {name: verdict.label(name) for name in LABELS if name in judge.labels}
