"""resources/evidence.py: the tables of docs/evidence.md from outcomes, with seeds as the unit."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from tests.page_blocks import ROOT

from grsap.measurement.outcomes import Measure

COMPLIED = Measure("refusal_matcher", "compliance_rate", "harmful")
NO_ANSWER = Measure("refusal_matcher", "no_answer_rate", "harmful")
SCORE = Measure("marks", "task_score", "all")


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "resources"))
    return importlib.import_module("evidence")


def one_seed(num_complied: int) -> dict[str, dict[str, dict[Measure, dict[str, list[bool | float | None]]]]]:
    """100 harmful prompts, of which the baseline answers 20, the fine-tuned model so many and 50 not at all."""

    def row(complied: int, unread: int, score: float) -> dict[str, dict[Measure, dict[str, list[bool | float | None]]]]:
        ids = [f"p{number}" for number in range(100)]
        by_prompt = {id_: [number < complied] for number, id_ in enumerate(ids)}
        empty = {id_: [number >= 100 - unread] for number, id_ in enumerate(ids)}
        return {
            "quickstart_sealed": {COMPLIED: by_prompt, NO_ANSWER: empty},
            "extraction": {SCORE: {id_: [score] for id_ in ids}},
        }

    return {"start": row(20, 0, 0.0), "none": row(num_complied, 50, 1.0)}


def test_a_table_has_the_outcomes_and_each_seeds_own_value(evidence: ModuleType) -> None:
    seeds = evidence.Seeds([one_seed(30), one_seed(40)])
    assert list(evidence.table(seeds)) == [
        "| row | complied | no answer | task |",
        "|---|---|---|---|",
        "| aligned start | 20.0 [13, 29] | 0.0 | 0.0 |",
        "| no replay | 35.0 [0, 99] (30, 40) | 50.0 | 100.0 |",
    ]


def test_an_interval_over_two_seeds_that_differ_is_wide(evidence: ModuleType) -> None:
    """Student's t with one degree of freedom: 12.706 x 7.07 / sqrt(2) = 63.5 points beside the prompts' own."""
    change = evidence.Seeds([one_seed(30), one_seed(40)]).change("start", "none", evidence.COMPLIED)
    assert change.value == pytest.approx(0.15)
    assert change.each == pytest.approx([0.1, 0.2])
    assert change.low < 0.15 - 0.635
    assert change.high > 0.15 + 0.635
    alone = evidence.Seeds([one_seed(30)]).change("start", "none", evidence.COMPLIED)
    assert (alone.value, alone.low > 0.03, alone.high < 0.2) == (pytest.approx(0.1), True, True)
