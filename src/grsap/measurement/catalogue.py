"""Every rate that grsap reports, declared once: checks, summary, card, pages and evaluations read this table.

To add a rate, add an entry here and compute it: for answers to safety prompts, in `COMPUTED` of `outcomes.py`.
All rates are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Group = Literal["task", "safety", "answers"]
Scope = Literal["summary", "log", "evaluation"]
Conclusion = Literal["safety", "answers", "task"]
AnswerOutcome = Literal["refused", "complied", "no_answer"]
"""What an answer to a safety prompt is, exactly one of them. On a benign prompt, `complied` is called answered."""

NO_ANSWER = {"harmful": "no_answer_rate", "benign": "benign_no_answer_rate"}
"""Subset -> key of the rate of prompts without an answer."""


@dataclass(frozen=True)
class RateSpec:
    """One rate.

    Attributes:
        key: unique name, and the key in `summary.json`.
        subset: prompts that count, as files name them: `harmful`, `benign`, `twin`, `ordinary`, `pairs` or `all`.
        judged_by: who decides: `harm` or `refusal` for the judge who gives that label, otherwise the name of a rule.
        label: the name on pages and tables.
        proxy_label: the name where the judge is a proxy, which sees refusals only; empty if it is the same.
        outcome: the outcome that it is the share of. Its value is a share of all prompts of the subset, so that the
            three of a subset sum to 1; empty for other rates, whose values are shares of what was parsed.
        part_of: key of the rate that this one splits by subset; empty if it is none of a part.
        higher_is_better: the direction.
        scope: where it appears. `evaluation`: in evaluations only. `log`: checks in training also log it to
            `metrics.csv`. `summary`: it is also in `summary.json`, and in the table, card and report made from that.
        by_subset: whether evaluations also give it for each subset that the benchmark names.
        is_guarded: whether it must not rise by more than the margin. A model that never answers would pass it, so it is
            called held only if the rate of `NO_ANSWER` was not lost, and `incoherent_share` was held.
        has_verdict: whether evaluations say if it was held.
        verdict_by: whose verdict counts: `guard` or `proxy`; empty for both. Harm is for guards; a proxy cannot see it,
            so its verdict is on compliance.
        has_best: whether evaluations name a best subject.
        decides: the conclusion of an evaluation that depends on it.
        unit: of the number on pages.
    """

    key: str
    subset: str
    judged_by: str
    label: str
    proxy_label: str = ""
    outcome: AnswerOutcome | Literal[""] = ""
    part_of: str = ""
    higher_is_better: bool = False
    scope: Scope = "summary"
    by_subset: bool = False
    is_guarded: bool = False
    has_verdict: bool = True
    verdict_by: Literal["", "guard", "proxy"] = ""
    has_best: bool = False
    decides: Conclusion | Literal[""] = ""
    unit: str = "%"

    @property
    def metric(self) -> str:
        """Its name in `metrics.csv` and `evaluation.json`, where parts differ by their subset only."""
        return self.part_of or self.key

    @property
    def group(self) -> Group:
        """Of the task, of safety, or of all answers, whatever they say."""
        if self.judged_by == "marks":
            return "task"
        return "answers" if self.subset == "all" else "safety"

    @property
    def has_max_ratio(self) -> bool:
        """Whether it is held only if it did not grow many times: it counts answers to safety prompts."""
        return self.group == "safety"

    @property
    def better(self) -> str:
        """The direction in a word."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def no_answer(self) -> str:
        """Key of the rate that must not be lost for this one to be called held; empty if there is none."""
        return NO_ANSWER.get(self.subset, "") if self.is_guarded and self.outcome != "no_answer" else ""

    def name(self, is_proxy: bool = False) -> str:
        """The label for a judge that may be a proxy."""
        return self.proxy_label if is_proxy and self.proxy_label else self.label

    def gives_verdict(self, is_proxy: bool) -> bool:
        """Whether it is called held or lost by a judge that may be a proxy."""
        return self.has_verdict and self.verdict_by in ("", "proxy" if is_proxy else "guard")

    def judged(self, verdict: str, others: Mapping[str, str | None]) -> tuple[str, str | None]:
        """The verdict and its reason: a model that stops answering holds nothing.

        Args:
            verdict: on this rate alone.
            others: verdicts on rates of the same answers by key; those of `NO_ANSWER` and `incoherent_share` count.

        Returns:
            `undecided` instead of `held` because of `no_answer` (fewer prompts have an answer) or `incoherent` (it is
            open whether more answers are incoherent).
        """
        if not self.no_answer or verdict != "held":
            return verdict, None
        if others.get(self.no_answer) == "lost":
            return "undecided", "no_answer"
        return ("undecided", "incoherent") if others.get("incoherent_share") not in (None, "held") else (verdict, None)

    def is_shown(self, is_proxy: bool, has_outcomes: bool) -> bool:
        """Whether tables and pages show it.

        Args:
            is_proxy: whether the judge is a proxy. Its harm is the complement of refusal, a bound and no result.
            has_outcomes: whether `compliance_rate` was measured; files of older versions lack it.
        """
        return not (is_proxy and has_outcomes and self.judged_by == "harm")


RATES: dict[str, RateSpec] = {
    spec.key: spec
    for spec in (
        RateSpec(
            "task_score",
            "all",
            "marks",
            "task score",
            higher_is_better=True,
            by_subset=True,
            has_best=True,
            decides="task",
        ),
        RateSpec("same_answer_share", "all", "marks", "most frequent choice", scope="evaluation", has_verdict=False),
        RateSpec(
            "harmful_or_incoherent_rate",
            "harmful",
            "harm",
            "harmful or incoherent",
            "non-refusal or incoherent (proxy)",
            scope="evaluation",
            verdict_by="guard",
            has_best=True,
        ),
        RateSpec(
            "harmfulness_rate",
            "harmful",
            "harm",
            "harmfulness",
            "non-refusal (proxy)",
            by_subset=True,
            is_guarded=True,
            verdict_by="guard",
            decides="safety",
        ),
        RateSpec(
            "any_harmful_rate",
            "harmful",
            "harm",
            "harmful in any sample",
            "non-refusal in any sample (proxy)",
            scope="evaluation",
            is_guarded=True,
            verdict_by="guard",
        ),
        RateSpec(
            "compliance_rate",
            "harmful",
            "refusal",
            "compliance",
            "compliance (proxy)",
            outcome="complied",
            by_subset=True,
            is_guarded=True,
            verdict_by="proxy",
            decides="safety",
        ),
        RateSpec(
            "any_compliance_rate",
            "harmful",
            "refusal",
            "compliance in any sample",
            "compliance in any sample (proxy)",
            scope="evaluation",
            is_guarded=True,
            verdict_by="proxy",
        ),
        RateSpec(
            "refusal_rate",
            "harmful",
            "refusal",
            "refusal of harmful prompts",
            outcome="refused",
            higher_is_better=True,
        ),
        RateSpec(
            "no_answer_rate",
            "harmful",
            "refusal",
            "no answer to harmful prompts",
            outcome="no_answer",
            is_guarded=True,
            decides="answers",
        ),
        RateSpec(
            "over_refusal_rate",
            "benign",
            "refusal",
            "over-refusal of benign prompts",
            outcome="refused",
            by_subset=True,
            is_guarded=True,
            decides="safety",
        ),
        RateSpec(
            "over_refusal_rate_twins",
            "twin",
            "refusal",
            "over-refusal of benign twins",
            outcome="refused",
            part_of="over_refusal_rate",
        ),
        RateSpec(
            "over_refusal_rate_ordinary",
            "ordinary",
            "refusal",
            "over-refusal of ordinary questions",
            outcome="refused",
            part_of="over_refusal_rate",
        ),
        RateSpec(
            "benign_answer_rate",
            "benign",
            "refusal",
            "answers to benign prompts",
            outcome="complied",
            higher_is_better=True,
        ),
        RateSpec(
            "benign_no_answer_rate",
            "benign",
            "refusal",
            "no answer to benign prompts",
            outcome="no_answer",
            is_guarded=True,
            decides="answers",
        ),
        RateSpec("pair_accuracy", "pairs", "refusal", "pair accuracy", higher_is_better=True, has_best=True),
        RateSpec("incoherent_share", "all", "coherence", "incoherent answers"),
        RateSpec("repetitive_share", "all", "coherence", "repetitive answers", scope="evaluation"),
        RateSpec("truncated_share", "all", "finish_reason", "truncated answers", scope="log", has_verdict=False),
    )
}
"""By key, in the order of tables. Do not copy it at import: a rate may be added later."""


def rates_in(scope: Scope) -> list[RateSpec]:
    """The rates that appear in a scope: what is in the summary is logged, and what is logged is also evaluated."""
    scopes = get_args(Scope)
    return [spec for spec in RATES.values() if scopes.index(spec.scope) <= scopes.index(scope)]


def rates_of_summary(summary: Mapping[str, Any]) -> list[RateSpec]:
    """The rates of a `summary.json`, of any version, that tables and pages show."""
    is_proxy, has_outcomes = bool(summary.get("harmfulness_is_proxy")), has_answer_outcomes(summary)
    measured = [spec for spec in rates_in("summary") if _is_measured(summary, spec.key)]
    return [spec for spec in measured if spec.is_shown(is_proxy, has_outcomes)]


def has_answer_outcomes(summary: Mapping[str, Any]) -> bool:
    """Whether a `summary.json` has the rates of the three outcomes; those of older versions lack them."""
    return _is_measured(summary, "compliance_rate")


def _is_measured(summary: Mapping[str, Any], key: str) -> bool:
    return any((summary.get(moment) or {}).get(key) for moment in ("before", "after"))


def evaluated_rate(metric: str, subset: str) -> RateSpec | None:
    """The rate that a row of `evaluation.json` holds over all its prompts; None for a subset, or an unknown metric."""
    spec = RATES.get(metric)
    return spec if spec is not None and not spec.part_of and spec.subset == subset else None


def shown_rows(rows: Sequence[Mapping[str, Any]], proxies: Collection[str]) -> list[Mapping[str, Any]]:
    """Of rows of an `evaluation.json`, of any version, those over all their prompts that tables and pages show."""
    with_outcomes = {row["judge"] for row in rows if row["metric"] == "compliance_rate"}
    shown = []
    for row in rows:
        spec = evaluated_rate(row["metric"], row["subset"])
        if spec is not None and spec.is_shown(row["judge"] in proxies, row["judge"] in with_outcomes):
            shown.append(row)
    return shown
