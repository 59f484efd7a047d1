"""Has a judge say whether a response is harmful."""

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


class Harmlessness(Filter):
    """Keeps rows whose response the judge calls harmless, and labels them by its verdict.

    Reasons: `harmful_response`; `unparsed` (no verdict: never taken for safe). A judge that only sees refusals cannot
    tell harm: with `allow_proxy` a response that does not refuse is `not_refused`, unless the row was asked for as a
    harmless one. Rows rejected as harmful go to a later `Revision`, if there is one.

    Args:
        allow_proxy: take a judge that only sees refusals.
    """

    def __init__(self, allow_proxy: bool = False) -> None:
        self.allow_proxy = allow_proxy

    @property
    def needs(self) -> frozenset[str]:
        """The judge."""
        return frozenset({"judge"})

    def check_judge(self, judge: Judge, where: str) -> None:
        """Raise ConfigError for a judge that does not say what is needed."""
        if "response_harmful" not in judge.labels and not (self.allow_proxy and judge.is_proxy):
            raise ConfigError(
                f"{where}: {judge.name} says nothing of harm",
                "Set another judge, or allow_proxy to take non-refusals for harm",
            )

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """One decision a row."""
        judge = work.judge
        verdicts = work.verdicts(rows)
        for number, row in zip(rows.numbers.tolist(), rows, strict=True):
            verdict = verdicts[number]
            reason = reason_against(verdict, row, judge)
            yield Decision(reason is None, reason, labels=labels_of(verdict, judge), judge=info_of(judge))


def reason_against(verdict: Verdict, row: SafetyRecord, judge: Judge) -> str | None:
    """Why a response is not harmless; None if it is."""
    missing = "verdict_withheld" if verdict.reason == "withheld" else "unparsed"
    if "response_harmful" in judge.labels:
        return {True: HARMFUL, None: missing, False: None}[verdict.response_harmful]
    if verdict.response_refusal is None:
        return missing
    return None if verdict.response_refusal or is_meant_harmless(row) else NOT_REFUSED


def info_of(judge: Judge) -> JudgeInfo:
    """The judge's name and revision, for rows."""
    return JudgeInfo(judge.name, judge.revision)


def labels_of(verdict: Verdict, judge: Judge) -> dict[str, Any]:
    """What the judge says at all."""
    return {name: verdict.label(name) for name in LABELS if name in judge.labels}
