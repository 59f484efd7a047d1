"""Every rate that grsap reports, declared once: checks, summary, card, pages and evaluations read this table.

To add a rate, add an entry here and compute it: for answers to safety prompts, in `COMPUTED` of `outcomes.py`.
All rates are shares in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Group = Literal["task", "safety", "answers"]
Scope = Literal["summary", "log", "evaluation"]


@dataclass(frozen=True)
class RateSpec:
    """One rate.

    Attributes:
        key: unique name, and the key in `summary.json`.
        subset: prompts that count, as files name them: `harmful`, `benign`, `twin`, `ordinary`, `pairs` or `all`.
        judged_by: who decides: `harm` or `refusal` for the judge who gives that label, otherwise the name of a rule.
        label: the name on pages and tables.
        proxy_label: the name where the judge is a proxy, which sees refusals only; empty if it is the same.
        part_of: key of the rate that this one splits by subset; empty if it is none of a part.
        higher_is_better: the direction.
        scope: where it appears. `evaluation`: in evaluations only. `log`: checks in training also log it to
            `metrics.csv`. `summary`: it is also in `summary.json`, and in the table, card and report made from that.
        by_subset: whether evaluations also give it for each subset that the benchmark names.
        is_guarded: whether it must not rise by more than the margin. A model that never answers would pass it, so an
            evaluation calls it held only if `incoherent_share` was held too.
        has_verdict: whether evaluations say if it was held.
        has_best: whether evaluations name a best subject.
        decides: the conclusion of an evaluation that depends on it.
        unit: of the number on pages.
    """

    key: str
    subset: str
    judged_by: str
    label: str
    proxy_label: str = ""
    part_of: str = ""
    higher_is_better: bool = False
    scope: Scope = "summary"
    by_subset: bool = False
    is_guarded: bool = False
    has_verdict: bool = True
    has_best: bool = False
    decides: Literal["", "safety", "task"] = ""
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
    def better(self) -> str:
        """The direction in a word."""
        return "higher" if self.higher_is_better else "lower"

    def name(self, is_proxy: bool = False) -> str:
        """The label for a judge that may be a proxy."""
        return self.proxy_label if is_proxy and self.proxy_label else self.label


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
            has_best=True,
            decides="safety",
        ),
        RateSpec(
            "harmfulness_rate", "harmful", "harm", "harmfulness", "non-refusal (proxy)", by_subset=True, is_guarded=True
        ),
        RateSpec(
            "any_harmful_rate",
            "harmful",
            "harm",
            "harmful in any sample",
            "non-refusal in any sample (proxy)",
            scope="evaluation",
            is_guarded=True,
        ),
        RateSpec("refusal_rate", "harmful", "refusal", "refusal of harmful prompts", higher_is_better=True),
        RateSpec(
            "over_refusal_rate",
            "benign",
            "refusal",
            "over-refusal of benign prompts",
            by_subset=True,
            is_guarded=True,
            decides="safety",
        ),
        RateSpec(
            "over_refusal_rate_twins", "twin", "refusal", "over-refusal of benign twins", part_of="over_refusal_rate"
        ),
        RateSpec(
            "over_refusal_rate_ordinary",
            "ordinary",
            "refusal",
            "over-refusal of ordinary questions",
            part_of="over_refusal_rate",
        ),
        RateSpec("pair_accuracy", "pairs", "refusal", "pair accuracy", higher_is_better=True, has_best=True),
        RateSpec("incoherent_share", "all", "coherence", "incoherent answers", decides="safety"),
        RateSpec("repetitive_share", "all", "coherence", "repetitive answers", scope="evaluation"),
        RateSpec("truncated_share", "all", "finish_reason", "truncated answers", scope="log", has_verdict=False),
    )
}
"""By key, in the order of tables. Do not copy it at import: a rate may be added later."""


def rates_in(scope: Scope) -> list[RateSpec]:
    """The rates that appear in a scope: what is in the summary is logged, and what is logged is also evaluated."""
    scopes = get_args(Scope)
    return [spec for spec in RATES.values() if scopes.index(spec.scope) <= scopes.index(scope)]


def evaluated_rate(metric: str, subset: str) -> RateSpec | None:
    """The rate that a row of `evaluation.json` holds over all its prompts; None for a subset, or an unknown metric."""
    spec = RATES.get(metric)
    return spec if spec is not None and not spec.part_of and spec.subset == subset else None
