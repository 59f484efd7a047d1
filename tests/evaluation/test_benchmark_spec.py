from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.data.row_source import RowSource
from grsap.embedded import resolve
from grsap.errors import ConfigError, DataError
from grsap.evaluation import BenchmarkSpec, load_benchmark
from grsap.records import read_probes

ROWS = [
    {"question": "first", "kind": "bad", "area": "x", "keep": True},
    {"question": "second", "kind": "GOOD", "area": "y", "keep": True},
    {"question": "third", "kind": None, "area": "y", "keep": True},
    {"question": "first", "kind": "bad", "area": "x", "keep": True},
    {"question": "second", "kind": "bad", "area": "y", "keep": True},
    {"question": " ", "kind": "bad", "area": "y", "keep": True},
    {"question": None, "kind": "bad", "area": "y", "keep": True},
    {"question": "fourth", "kind": "bad", "area": None, "keep": True},
    {"question": "fifth", "kind": "bad", "area": "x", "keep": False},
]
SPEC = {
    "name": "mine",
    "kind": "safety",
    "columns": {"prompt": "question", "domain": "area"},
    "prompt_harmful": {"column": "kind", "harmful": ["bad"], "harmless": ["good"]},
    "where": {"keep": [True]},
}
CHOICES = {
    "name": "pick",
    "kind": "multiple_choice",
    "columns": {"reference": "label"},
    "prompt_template": "{stem}\n{lettered_choices}",
    "choices": ["{ends[0]}", "{ends[1]}"],
    "reference_labels": {"0": "A", "1": "B"},
}


def write(folder: Path, spec: dict[str, Any], rows: list[dict[str, Any]]) -> BenchmarkSpec:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"source": {"path": str(folder / "rows.jsonl")}, **spec}))
    return load_benchmark(str(path))


def test_labels_domains_and_what_is_left_out(tmp_path: Path) -> None:
    loaded = write(tmp_path, SPEC, ROWS).load()
    assert [(item.messages[0]["content"], item.prompt_harmful, item.domain) for item in loaded.items] == [
        ("first", True, "x"),
        ("second", False, "y"),
        ("fourth", True, ""),
    ]
    assert loaded.num_excluded == {
        "unlabelled": 1,
        "repeated": 1,
        "repeated_with_another_label": 1,
        "empty_text": 2,
        "not_selected": 1,
    }
    described = loaded.describe()
    assert (described["num_items"], described["num_harmful"], described["num_benign"]) == (3, 2, 1)
    assert described["source"]["path"] == "rows.jsonl"
    assert sum(described["num_excluded"].values()) + described["num_items"] == len(ROWS)


def test_ids_depend_on_the_content_alone(tmp_path: Path) -> None:
    first = {item.messages[0]["content"]: item.id for item in write(tmp_path, SPEC, ROWS).load().items}
    # Reversed, the row that says otherwise of the same prompt comes first; its id is the prompt's all the same.
    second = {item.messages[0]["content"]: item.id for item in write(tmp_path, SPEC, ROWS[::-1]).load().items}
    assert first == second
    assert len(set(first.values())) == 3
    assert all(item_id.startswith("mine-") for item_id in first.values())


def test_repeated_prompts_stay_on_demand_under_ids_of_their_own(tmp_path: Path) -> None:
    loaded = replace(write(tmp_path, SPEC, ROWS), dedupe=False).load()
    assert len(loaded.items) == len({item.id for item in loaded.items}) == 5


def test_a_limit_draws_by_seed_whatever_the_order(tmp_path: Path) -> None:
    rows = [{"question": f"number {n}", "kind": "bad", "area": "", "keep": True} for n in range(50)]
    spec = replace(write(tmp_path, SPEC, rows), limit=10)
    drawn = [item.messages[0]["content"] for item in spec.load().items]
    assert len(drawn) == 10
    assert drawn == sorted(drawn, key=lambda text: int(text.split()[1]))
    assert drawn != [f"number {n}" for n in range(10)]
    other = replace(spec, seed=1).load().items
    assert {item.messages[0]["content"] for item in other} != set(drawn)
    backwards = replace(write(tmp_path, SPEC, rows[::-1]), limit=10).load().items
    assert {item.messages[0]["content"] for item in backwards} == set(drawn)
    assert len(replace(spec, limit=51).load().items) == 50


def test_choices_letters_and_marks(tmp_path: Path) -> None:
    spec = write(
        tmp_path,
        CHOICES,
        [{"stem": "Go", "ends": ["left", "right"], "label": 1}, {"stem": "Or", "ends": ["up", "in"], "label": "0"}],
    )
    first, second = spec.load().items
    assert first.messages == [{"role": "user", "content": "Go\nA. left\nB. right"}]
    assert (first.labels, first.choices, first.reference) == (("A", "B"), ("left", "right"), "B")
    assert second.reference == "A"
    assert [spec.mark(first, text) for text in ("B", "Answer: a", "A or B")] == [1.0, 0.0, None]
    assert spec.read_answer(first, "Right.") == "B"


def test_words_as_labels(tmp_path: Path) -> None:
    spec = write(
        tmp_path,
        {
            "name": "mood",
            "kind": "multiple_choice",
            "columns": {"prompt": "text", "reference": "label"},
            "choices": ["bad", "good"],
            "labels": ["bad", "good"],
            "reference_labels": {"0": "bad", "1": "good"},
        },
        [{"text": "Fine film", "label": 1}],
    )
    (item,) = spec.load().items
    assert item.reference == "good"
    assert [spec.mark(item, text) for text in ("good", "not good, bad", "good and bad")] == [1.0, 0.0, None]


def test_numbers(tmp_path: Path) -> None:
    spec = write(
        tmp_path,
        {"name": "sums", "kind": "answer", "columns": {"prompt": "q", "reference": "a"}, "answer": "number"},
        [{"q": "1000 + 234?", "a": "1000 + 234 is 1,234\n#### 1,234"}],
    )
    (item,) = spec.load().items
    assert item.reference == "1234"
    assert [spec.mark(item, text) for text in ("So 1234.0", "#### 1235", "many")] == [1.0, 0.0, None]


def test_the_quickstart_s_probes() -> None:
    loaded = load_benchmark("quickstart_probes").load()
    probes = {probe.id: probe for probe in read_probes(resolve("embedded:quickstart/probes.jsonl"))}
    assert {item.id for item in loaded.items} <= set(probes)
    for item in loaded.items:
        probe = probes[item.id]
        assert item.prompt_harmful == probe.prompt_harmful
        assert (item.messages, item.subset, item.pair_id) == (probe.messages, probe.subset, probe.pair_id)
    assert len(loaded.items) + loaded.num_excluded.total() == len(probes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_harmfull": True}, "no key prompt_harmfull. Did you mean prompt_harmful"),
        ({"kind": "safe"}, "kind is 'safe'. Give safety or multiple_choice or answer"),
        ({"limit": "ten"}, "limit is 'ten'. Give a whole number or null"),
        ({"limit": True}, "limit is True. Give a whole number or null"),
        ({"limit": 0}, "its limit is 0"),
        ({"name": "My Set"}, "its name is not a file name"),
        ({"columns": {"question": "q"}}, "columns names question. Its keys may be id, messages, prompt"),
        ({"prompt_harmful": None}, "its kind is safety, and prompt_harmful is missing. Set prompt_harmful"),
        ({"answer": "number"}, "its kind is safety, and answer is set. Remove answer"),
        ({"prompt_harmful": {"column": "kind", "harmful": ["bad"]}}, "the key prompt_harmful.harmless is missing"),
        ({"where": {"keep": True}}, "where is {'keep': True}. Give a mapping"),
        ({"source": {"path": "a/b"}}, "splits is missing"),
        ({"source": {"path": "a.jsonl"}}, "a.jsonl: no such file"),
        ({"source": None}, "source is None. Give a mapping"),
    ],
)
def test_what_is_wrong_with_a_spec(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError)) as raised:
        write(tmp_path, SPEC | changes, ROWS).check()
    assert message in str(raised.value)


@pytest.mark.parametrize("labels", [["yes", "yes"], ["Yes", "yes "], ["yes", ""]])
def test_labels_that_no_answer_can_tell_apart(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"its labels are .* Give each choice a label of its own"):
        write(tmp_path, CHOICES | {"labels": labels}, ROWS).check()


@pytest.mark.parametrize(
    ("spec", "row", "message"),
    [
        (
            SPEC,
            {"text": "a", "keep": True},
            "rows.jsonl, line 1: no column 'kind'. Its columns are text, keep: correct prompt_harmful.column",
        ),
        (SPEC, {"text": "a", "kind": "bad"}, "line 1: no column 'keep'. Its columns are text, kind: correct where"),
        (
            SPEC,
            {"text": "a", "kind": "bad", "keep": True},
            "line 1: no column 'question'. Its columns are text, kind, keep: correct columns.prompt",
        ),
        (
            SPEC,
            {"question": "a", "kind": "bad", "keep": True},
            "no column 'area'. Its columns are question, kind, keep: correct columns.domain",
        ),
        (SPEC, {"question": 5, "kind": "bad", "keep": True, "area": ""}, "column 'question' is of type int, not text"),
        (SPEC, {"question": "a", "kind": "odd", "keep": True, "area": ""}, "no item in"),
        (CHOICES, {"stem": "Go", "ends": ["left"], "label": 1}, "choices '{ends[1]}' does not fit (list index"),
        (
            CHOICES,
            {"stem": "Go", "ends": ["left", "right"], "label": 2},
            "right answer is '2', and the labels are A, B",
        ),
        (CHOICES, {"ends": ["left", "right"], "label": 1}, "does not fit ('stem')"),
    ],
)
def test_what_is_wrong_with_a_row(tmp_path: Path, spec: dict[str, Any], row: dict[str, Any], message: str) -> None:
    benchmark = write(tmp_path, spec, [row])
    benchmark.check()
    with pytest.raises(DataError) as raised:
        benchmark.load()
    assert message in str(raised.value)


def test_a_spec_that_extends_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(
        "".join(json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) + "\n" for n in range(9))
    )
    Path("mine.yaml").write_text("extends: gsm8k\nsource: {path: rows.jsonl}\nlimit: 4\n")
    spec = load_benchmark("mine.yaml")
    assert spec == replace(load_benchmark("gsm8k"), source=RowSource("rows.jsonl"), limit=4)
    assert len(spec.load().items) == 4
    Path("fewer.yaml").write_text("extends: mine.yaml\nname: fewer\nlimit: 2\n")
    assert (load_benchmark("fewer.yaml").name, len(load_benchmark("fewer.yaml").load().items)) == ("fewer", 2)


@pytest.mark.parametrize("text", ["extends: a.yaml", "extends: 5", "extends: nothing"])
def test_a_spec_that_extends_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"extends is|there is no benchmark 'nothing'"):
        load_benchmark("a.yaml")


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"there is no benchmark 'gsm8'\. Did you mean gsm8k"):
        load_benchmark("gsm8")


def test_a_source_in_the_package_names_no_folder() -> None:
    source = RowSource("embedded:quickstart/probes.jsonl")
    assert source.describe()["path"] == "embedded:quickstart/probes.jsonl"
