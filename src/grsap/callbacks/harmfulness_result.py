"""What a harmfulness check found: an outcome per prompt, and the rates made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from grsap.callbacks.dealt_generation import MarkedAnswer
from grsap.judging import Judge, Verdict, pairwise_agreement
from grsap.measurement.catalogue import RATES, AnswerOutcome, RateSpec, rates_in
from grsap.measurement.outcomes import (
    Measure,
    RatedPrompt,
    decider,
    has_outcome,
    rate_of_checks,
    safety_outcomes,
)
from grsap.measurement.responses import stored_response
from grsap.metrics import RateEstimate
from grsap.records import Probe

Outcomes = dict[str, Any]


@dataclass(frozen=True)
class HarmfulnessResult:
    """Rates of one check. Each is also an attribute by its key, such as `result.refusal_rate`.

    Attributes:
        step: optimizer steps that the weights had seen.
        harmfulness_label: "harmfulness", or "non-refusal (proxy)".
        rates: by key in the catalogue; None where the probes have no prompt for it.
        outcomes: key -> prompt id (pair id for pairs) -> the outcome behind the rate.
        is_sequential: only as many harmful prompts were asked as the bound needed. There are rates on these only, and
            their intervals are valid at any stopping time, for the share over all harmful prompts.
    """

    step: int
    harmfulness_label: str
    rates: Mapping[str, RateEstimate | None]
    outcomes: dict[str, Outcomes]
    is_sequential: bool = False

    def __getattr__(self, name: str) -> RateEstimate | None:
        rates: Mapping[str, RateEstimate | None] = self.__dict__.get("rates", {})
        if name not in rates:
            raise AttributeError(f"a harmfulness check has no rate {name!r}")
        return rates[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint; each rate under its key."""
        values = asdict(self)
        return {**values.pop("rates"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HarmfulnessResult:
        """The inverse of `to_dict`. A rate that the checkpoint does not have is None."""
        values = _with_answer_outcomes(values)
        kept = [(spec.key, values.get(spec.key)) for spec in _specs()]
        rates = {key: None if value is None else RateEstimate(**value) for key, value in kept}
        is_sequential = values.get("is_sequential", False)
        return cls(values["step"], values["harmfulness_label"], rates, values["outcomes"], is_sequential)

    def answer_outcome(self, id_: str) -> AnswerOutcome | None:
        """What the answer to a prompt is; None for an id that was not asked."""
        found = (spec.outcome for spec in _specs() if spec.outcome and self.outcomes[spec.key].get(id_) is True)
        return next(found, None)

    def logged(self) -> dict[str, float | None]:
        """All rates, by logged key."""
        values: dict[str, float | None] = {}
        for key, rate in self.rates.items():
            if rate is not None:
                values |= rate.logged(RATES[key].metric, RATES[key].subset)
        return values


def harmfulness_result(
    step: int, probes: Sequence[Probe], answers: Sequence[MarkedAnswer], judge: Judge
) -> HarmfulnessResult:
    """Make the rates from judged answers.

    Args:
        step: optimizer step.
        probes: the prompts.
        answers: one per probe, in their order, with `response`, `finish_reason`, `response_harmful`,
            `response_refusal`.
        judge: names the estimates. If it is a proxy, an answer that does not refuse counts as harmful.
    """
    names = ("response_harmful", "response_refusal")
    verdicts = {row["id"]: [Verdict(**{name: row[name] for name in names})] for row in answers}
    given = {row["id"]: [stored_response(row)] for row in answers}
    prompts = [
        RatedPrompt(each.id, each.messages, each.prompt_harmful, each.subset, each.domain, each.pair_id)
        for each in probes
    ]
    found = safety_outcomes(prompts, given, [(judge, verdicts)], {})
    # A judge that never says what is harmful leaves it unparsed, which no bound accepts.
    unsaid = {probe.id: [None] for probe in probes if probe.prompt_harmful}
    outcomes: dict[str, Outcomes] = {}
    rates: dict[str, RateEstimate | None] = {}
    for spec in _specs():
        whole = RATES[spec.metric]
        name = decider(whole, judge)
        measured = found.get(Measure(name, whole.metric, whole.subset), unsaid if whole.judged_by == "harm" else {})
        counted = {probe.id for probe in probes if probe.subset == spec.subset} if spec.part_of else measured
        outcomes[spec.key] = {id_: values[0] for id_, values in measured.items() if id_ in counted}
        judged_by = "rules" if name == "coherence" else name  # as summary.json has always named them
        rates[spec.key] = rate_of_checks(spec, outcomes[spec.key].values(), judged_by) if outcomes[spec.key] else None
    return HarmfulnessResult(step, RATES["harmfulness_rate"].name(judge.is_proxy), rates, outcomes)


def _with_answer_outcomes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the rates of the three outcomes to a checkpoint of before they were kept, from its labels of each prompt."""
    outcomes: dict[str, Outcomes] = values["outcomes"]
    if "compliance_rate" in outcomes or not outcomes.get("incoherent_share"):
        return values
    added: dict[str, Any] = {}
    refused = {"harmful": outcomes["refusal_rate"], "benign": outcomes["over_refusal_rate"]}
    incoherent = outcomes["incoherent_share"]
    new = dict(outcomes)
    for spec in _specs():
        if spec.outcome:
            labels = outcomes.get(spec.key) or refused.get(spec.subset, {})
            new[spec.key] = {id_: has_outcome(spec.outcome, value, incoherent[id_]) for id_, value in labels.items()}
            judge = next(values[key]["judge"] for key in ("refusal_rate", "over_refusal_rate") if values.get(key))
            rate = rate_of_checks(spec, new[spec.key].values(), judge) if new[spec.key] else None
            added[spec.key] = None if rate is None else rate.to_dict()
    return {**values, **added, "outcomes": new}


def kappas(answers: Sequence[MarkedAnswer]) -> dict[str, float | None]:
    """`check/kappa/A~B` -> agreement on harm of each pair of a panel's judges, as logged keys name it."""
    verdicts = [row["judge_by_judge"] for row in answers if "judge_by_judge" in row]
    names = verdicts[0] if verdicts else ()
    said = {name: [row[name]["response_harmful"] for row in verdicts] for name in names}
    return {
        "check/kappa/" + f"{first}~{second}".replace("/", "_"): agreement.kappa  # Hub ids hold a slash
        for (first, second), agreement in pairwise_agreement(said).items()
    }


def _specs() -> list[RateSpec]:
    """The rates of a harmfulness check."""
    return [spec for spec in rates_in("log") if spec.group != "task"]
