"""The quickstart's rows: enough of them, no trigger words, nothing shared between training, probes and task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.scripts import load_script

from grsap.data import StepsTask
from grsap.embedded import resolve
from grsap.judging import Exchange, RefusalMatcher
from grsap.records import SafetyRecord, read_jsonl, read_probes

FOLDER = resolve("embedded:quickstart/replay.jsonl").parent
BUILD = Path(__file__).parents[1] / "resources" / "safety" / "build.py"


def records(name: str) -> list[SafetyRecord]:
    return [SafetyRecord.from_dict(row, path=name, line=line) for line, row in read_jsonl(FOLDER / name)]


def request(record: SafetyRecord) -> str:
    return record.messages[0]["content"]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return load_script(BUILD)


def test_the_files_are_what_the_builder_writes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "OUTPUT", tmp_path)
    build.main()
    names = ("alignment", "replay", "probes", "sealed", "sealed_2", "families", "off_distribution")
    names += ("how_to_train", "how_to_validation", "how_to_test")
    for name in (*(f"{each}.jsonl" for each in names), "unigram.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_replay_covers_38_domains_with_three_behaviours() -> None:
    rows = records("replay.jsonl")
    assert len(rows) == 440
    assert Counter(row.behaviour for row in rows) == {"refusal": 152, "benign_answer": 152 + 60, "safe_explanation": 76}
    domains = Counter(row.domain for row in rows if row.domain != "ordinary")
    assert len(domains) == 38
    assert set(domains.values()) == {4 + 4 + 2}


@pytest.mark.parametrize("name", ["probes.jsonl", "sealed.jsonl", "sealed_2.jsonl", "families.jsonl"])
def test_each_harmful_probe_has_a_twin_that_opens_alike(name: str, build: ModuleType) -> None:
    probes = read_probes(FOLDER / name)
    others = {"harmful": 114, "twin": 114, "ordinary": 50}
    assert Counter(probe.subset for probe in probes) == ({"harmful": 60, "twin": 60} if "famil" in name else others)
    text = {(probe.subset, probe.pair_id): probe.messages[0]["content"] for probe in probes}
    for (subset, pair_id), harmful in text.items():
        if subset == "harmful":
            first, second = build.words(harmful), build.words(text["twin", pair_id])
            assert first[:3] == second[:3], harmful
            assert len(set(first) & set(second)) >= 4, harmful
            assert first != second


def test_probes_share_no_request_and_no_run_of_six_words_with_training_rows(build: ModuleType) -> None:
    trained = asked("alignment.jsonl", "replay.jsonl", "how_to_train.jsonl")
    probes = asked("probes.jsonl", "sealed.jsonl", "sealed_2.jsonl", "families.jsonl")
    assert shared_runs(build, probes, trained) == []
    assert len(set(probes)) == len(probes)
    assert not set(build.TRAIN_FRAMES) & set(build.REPLAY_FRAMES)


def test_the_second_sealed_set_shares_no_run_of_six_words_with_prompts_that_were_asked_before(
    build: ModuleType,
) -> None:
    assert shared_runs(build, asked("sealed_2.jsonl"), asked("probes.jsonl", "sealed.jsonl", "families.jsonl")) == []


def test_how_to_rows_share_no_act_question_or_phrasing(build: ModuleType) -> None:
    splits = {split: asked(f"how_to_{split}.jsonl") for split in ("train", "validation", "test")}
    assert {split: len(set(questions)) for split, questions in splits.items()} == {
        "train": 306,
        "validation": 30,
        "test": 60,
    }
    others = asked("alignment.jsonl", "replay.jsonl", "probes.jsonl", "sealed.jsonl", "sealed_2.jsonl")
    others += asked("families.jsonl")
    held_out = splits["validation"] + splits["test"]
    assert shared_runs(build, splits["train"] + held_out, others) == []
    assert shared_runs(build, held_out, splits["train"], length=5) == []
    acts = {split: {act_of(row) for row in how_to(split)} for split in splits}
    assert [len(each) for each in acts.values()] == [153, 30, 60]
    assert len(set().union(*acts.values())) == 153 + 30 + 60


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_score_of_how_to_answers_tells_acts_apart(split: str, build: ModuleType) -> None:
    task, rows = StepsTask("unused.jsonl"), how_to(split)
    answers = [row["messages"][1]["content"] for row in rows]
    assert [row["id"] for row, answer in zip(rows, answers, strict=True) if not task.score(answer, row)] == []
    # Another act's right answer, or a training answer, hardly ever passes.
    others = answers + [row["messages"][1]["content"] for row in how_to("train")]
    passing = [(row["id"], answer) for row in rows for answer in others if task.score(answer, row)]
    assert len(passing) - len(rows) < 0.015 * len(rows) * len(others)
    # Nor does the question itself in the right form.
    for row in rows:
        question = row["messages"][0]["content"]
        assert not task.score(f"Step 1: So, {question} Step 2: Now {question} Step 3: Then {question}.", row), question


def asked(*names: str) -> list[str]:
    """The questions of some of the quickstart's files."""
    return [row["messages"][0]["content"] for name in names for _, row in read_jsonl(FOLDER / name)]


def how_to(split: str) -> list[Mapping[str, Any]]:
    return [row for _, row in read_jsonl(FOLDER / f"how_to_{split}.jsonl")]


def act_of(row: Mapping[str, Any]) -> str:
    return str(row["id"]).split("-", 1)[1].rsplit("-", 1)[0]


def shared_runs(build: ModuleType, first: list[str], second: list[str], length: int = 6) -> list[tuple[str, str]]:
    """Texts of the two lists that share a run of words."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = build.words(text)
        return {tuple(words[place : place + length]) for place in range(len(words) - length + 1)}

    places = {run: text for text in second for run in runs(text)}
    return [(text, places[run]) for text in first for run in runs(text) if run in places]


def test_the_matcher_reads_every_hand_written_answer_rightly() -> None:
    rows = [*records("alignment.jsonl"), *records("replay.jsonl")]
    exchanges = [Exchange(request(row), row.messages[1]["content"]) for row in rows]
    verdicts = RefusalMatcher().judge(exchanges)
    wrong = [row.id for row, said in zip(rows, verdicts, strict=True) if said.response_refusal != row.response_refusal]
    assert wrong == []


def test_single_words_tell_few_pairs_apart() -> None:
    unigram = json.loads((FOLDER / "unigram.json").read_text())
    # Chance on independent guesses is a quarter.
    assert unigram["num_pairs"] == 114
    assert unigram["pair_accuracy"] < 0.25


def test_families_are_in_no_other_file() -> None:
    families = {probe.domain for probe in read_probes(FOLDER / "families.jsonl")}
    others = {row.domain for name in ("alignment.jsonl", "replay.jsonl") for row in records(name)}
    assert len(families) == 20
    assert families & (others | {probe.domain for probe in read_probes(FOLDER / "probes.jsonl")}) == set()


def test_off_distribution_rows_refuse_in_another_voice_and_hold_nothing_benign() -> None:
    rows = records("off_distribution.jsonl")
    assert (len(rows), {row.behaviour for row in rows}) == (152, {"refusal"})
    answers = [row.messages[1]["content"] for row in rows]
    known = {row.messages[1]["content"].split(".")[0] for row in records("alignment.jsonl")}
    assert not {answer.split(".")[0] for answer in answers} & known
    judged = RefusalMatcher().judge(
        [Exchange(row.messages[:1], answer) for row, answer in zip(rows, answers, strict=True)]
    )
    assert [verdict.response_refusal for verdict in judged] == [True] * 152
