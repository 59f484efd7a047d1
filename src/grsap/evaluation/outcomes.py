"""Outcomes of a benchmark's items by measure, before they are averaged to rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from grsap.evaluation.benchmark import Benchmark, BenchmarkItem
from grsap.evaluation.generating import Answer
from grsap.evaluation.prompts import Question
from grsap.judging import Judge, Verdict
from grsap.measurement.catalogue import RATES
from grsap.measurement.outcomes import (
    Measure,
    Outcomes,
    Surprising,
    by_subset,
    safety_outcomes,
    truncated,
)
from grsap.metrics import is_repetitive

Answers = Mapping[str, Sequence[Answer]]
"""By item id, one per sample."""


def task_outcomes(benchmark: Benchmark, items: Sequence[BenchmarkItem], answers: Answers) -> dict[Measure, Outcomes]:
    """Compute the outcomes of a benchmark that scores answers. `same_answer_share` counts the most frequent choice."""
    mark = benchmark.checked_mark
    scores: Outcomes = {
        item.id: [None if each.is_withheld else mark(item, each.response) for each in answers[item.id]]
        for item in items
    }
    repetitive: Outcomes = {
        item.id: [None if each.is_withheld else is_repetitive(each.response) for each in answers[item.id]]
        for item in items
    }
    found: dict[Measure, Outcomes] = {_measure("task_score"): scores}
    found |= by_subset(_measure("task_score"), items, scores)
    found[_measure("repetitive_share")] = repetitive
    if benchmark.kind == "multiple_choice":
        # The text of a withheld answer is empty, which states no choice.
        read = {item.id: [benchmark.read_answer(item, each.response) for each in answers[item.id]] for item in items}
        counts = Counter(each for values in read.values() for each in values if each is not None)
        most = counts.most_common(1)[0][0] if counts else None
        found[_measure("same_answer_share")] = {
            item: [None if each is None else each == most for each in values] for item, values in read.items()
        }
    return found | {_measure("truncated_share"): truncated(answers)}


def outcomes_of(
    question: Question,
    answers: Answers,
    verdicts: Mapping[Judge, Mapping[str, Sequence[Verdict]]],
    surprising: Surprising,
) -> dict[Measure, Outcomes]:
    """Compute the outcomes of a benchmark of any kind."""
    if question.benchmark.kind == "safety":
        all_rows = question.benchmark.counts_all_rows
        return safety_outcomes(question.items, answers, list(verdicts.items()), surprising, all_rows=all_rows)
    return task_outcomes(question.benchmark, question.items, answers)


def num_withheld(answers: Answers) -> dict[str, int]:
    """Count the answers that a server withheld, by its reason."""
    return dict(Counter(each.withheld_because for values in answers.values() for each in values if each.is_withheld))


def _measure(key: str) -> Measure:
    spec = RATES[key]
    return Measure(spec.judged_by, spec.metric, spec.subset)
