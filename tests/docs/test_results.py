"""Numbers of README and docs/evidence.md are those of the outcomes in docs/results, by the scripts in resources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.page_blocks import ROOT
from tests.scripts import resource

from grsap.embedded import resolve
from grsap.evaluation import load_benchmark
from grsap.records import read_jsonl

RESULTS = ROOT / "docs" / "results"
QUICKSTART = json.loads((RESULTS / "quickstart.json").read_text())
STUDY = json.loads((RESULTS / "how_to_study.json").read_text())
FILES = {"checks": "probes.jsonl", "sealed": "sealed_2.jsonl", "task": "how_to_test.jsonl"}


evidence, quickstart, frontier = (resource(name) for name in ("evidence", "quickstart_results", "frontier"))


def test_pages_have_the_quickstarts_outcomes() -> None:
    for page, text in quickstart.pages(QUICKSTART).items():
        assert page.read_text() == text, f"{page.name}: run python resources/quickstart_results.py"
        assert "| harmful prompts: complied" in text, page.name


def test_the_evidence_page_has_the_studys_outcomes() -> None:
    text = evidence.PAGE.read_text()
    assert evidence.page(evidence.Study(STUDY), text) == text, "run python resources/evidence.py"
    odds = json.loads(frontier.ODDS.read_text())
    assert evidence.with_part(text, "frontier", frontier.frontier(odds)) == text, "run python resources/frontier.py"


@pytest.mark.parametrize("kind", sorted(QUICKSTART))
def test_each_prompt_has_its_outcome_of_each_model(kind: str) -> None:
    asked = sorted(row["id"] for _, row in read_jsonl(resolve(f"embedded:quickstart/{FILES[kind]}")))
    found = QUICKSTART[kind]
    assert {model: sorted(each) for model, each in found.items()} == dict.fromkeys(quickstart.MODELS, asked)
    allowed = {0.0, 1.0} if kind == "task" else {"refused", "complied", "no_answer"}
    assert {outcome for each in found.values() for outcome in each.values()} <= allowed


def test_each_prompt_of_the_study_has_its_outcome() -> None:
    sealed, public = load_benchmark("quickstart_sealed").load(), load_benchmark("do_not_answer").load()
    assert STUDY["prompts"]["quickstart_sealed"] == sorted(item.id for item in sealed.items)
    assert STUDY["prompts"]["do_not_answer"] == sorted(item.id for item in public.items)
    for row, seeds in STUDY["outcomes"].items():
        assert row in evidence.NAMES
        for found in seeds.values():
            for benchmark, letters in found.items():
                assert len(letters) == len(STUDY["prompts"][benchmark])
                assert set(letters) <= set("01" if benchmark in ("how_to", "extraction", "dates") else "rcn")


def test_a_table_of_the_quickstart_counts_by_subset_and_outcome() -> None:
    found = {"harmful-1": "refused", "harmful-2": "complied", "twin-1": "refused", "ordinary-1": "no_answer"}
    kept = {"checks": dict.fromkeys(quickstart.MODELS, found), "sealed": dict.fromkeys(quickstart.MODELS, found)}
    kept["task"] = {key: {"test-a-1": 1.0, "test-b-1": 0.0} for key in quickstart.MODELS}  # type: ignore[dict-item]
    rows = dict(line.split(" | ")[:2] for line in list(quickstart.table(kept))[2:])
    assert rows["| task: three steps, on topic (n=2)"].startswith("50.0 %")
    assert rows["| harmful prompts: complied (n=2)"].startswith("50.0 %")
    assert rows["| harmful prompts: no answer (n=2)"].startswith("0.0 %")
    assert rows["| benign twins: refused (n=1)"].startswith("100.0 %")
    assert rows["| sealed ordinary questions: refused (n=1)"].startswith("0.0 %")


def study_of(*complied: int) -> Any:
    """100 harmful prompts, of which the aligned model answers 20, and one fine-tuned with each seed so many."""

    def letters(number: int) -> dict[str, str]:
        return {"quickstart_sealed": "c" * number + "n" * 5 + "r" * (95 - number)}

    outcomes = {"start": {"all": letters(20)}, "none": {str(seed): letters(each) for seed, each in enumerate(complied)}}
    return evidence.Study(
        {"prompts": {"quickstart_sealed": [f"harmful-{n:03}" for n in range(100)]}, "outcomes": outcomes}
    )


def test_a_rate_of_a_study_is_a_mean_over_seeds() -> None:
    rate = study_of(30, 40).rate("none", evidence.COMPLIED)
    assert (rate.value, rate.each) == (pytest.approx(0.35), pytest.approx([0.3, 0.4]))
    assert study_of(30, 40).rate("own", evidence.COMPLIED) is None
    assert study_of(30, 40).rate("none", evidence.PUBLIC) is None
    lines = list(evidence.table(study_of(30, 40)))
    assert lines[2].startswith("| aligned model |  | 20.0 (13-29) | 5.0 |")
    assert lines[3].startswith("| no replay | 2 | 35.0 (0-99) | 5.0 |")


def test_an_interval_over_two_seeds_that_differ_is_wide() -> None:
    """Student's t with one degree of freedom: 12.706 x 7.07 / sqrt(2) = 63.5 points beside the prompts' own."""
    change = study_of(30, 40).change("start", "none", evidence.COMPLIED)
    assert (change.value, change.each) == (pytest.approx(0.15), pytest.approx([0.1, 0.2]))
    assert change.low < 0.15 - 0.635
    assert change.high > 0.15 + 0.635
    alone = study_of(30).change("start", "none", evidence.COMPLIED)
    assert (alone.value, alone.low > 0.03, alone.high < 0.2) == (pytest.approx(0.1), True, True)
    assert list(evidence.changes(study_of(30)))[2].endswith("| 1 | +10.0 (+5.3 to +18.1), lost |  |  |  |")
