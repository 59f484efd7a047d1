"""Labels rows by what the response does, and by whether it had to be revised."""

from __future__ import annotations

from collections.abc import Iterator

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, is_meant_harmless, response_of
from grsap.curation.ledger import Rows
from grsap.curation.work import Work
from grsap.judging.refusal_matcher import is_refusal
from grsap.records import Behaviour as Label
from grsap.records import SafetyRecord


class Behaviour(Filter):
    """Sets `behaviour` (`refusal`, `safe_explanation` or `benign_answer`) and `difficulty` (`easy`, or `hard` for a
    revised response). Put it after the filters that judge and revise.

    The judge decides what is a refusal, or the refusal matcher if the judge gave no label. Other responses are a
    `benign_answer` to a harmless request (by the judge's label, else by what was asked for) and a `safe_explanation` to
    other requests. Reason, if enabled: `over_refusal`.

    Args:
        reject_over_refusals: whether to drop refusals of harmless requests, which would teach over-refusal; the paper
            keeps them.
    """

    def __init__(self, reject_over_refusals: bool = False) -> None:
        self.reject_over_refusals = reject_over_refusals

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row."""
        for row in rows:
            refuses = row.response_refusal
            if refuses is None:
                refuses = bool(is_refusal(response_of(row)))
            is_harmless = is_harmless_request(row)
            label: Label = "refusal" if refuses else "benign_answer" if is_harmless else "safe_explanation"
            labels = {
                "behaviour": label,
                "difficulty": "hard" if row.history else "easy",
                "response_refusal": refuses,
            }
            is_rejected = refuses and is_harmless and self.reject_over_refusals
            yield Decision(not is_rejected, "over_refusal" if is_rejected else None, labels=labels)


def is_harmless_request(row: SafetyRecord) -> bool:
    """Return whether a request is harmless by its label, or, if it has none, by what was asked for."""
    return is_meant_harmless(row) if row.prompt_harmful is None else not row.prompt_harmful
