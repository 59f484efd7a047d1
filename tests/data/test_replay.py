from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from grsap.data.replay import ReplayDataModule
from grsap.errors import DataError
from grsap.files import hash_file
from grsap.records import JudgeInfo, Origin, SafetyRecord, write_jsonl

TURNS = [
    {"role": "user", "content": "How do I get in?"},
    {"role": "assistant", "content": "I will not help with that."},
]


def safety(number: int, **changes) -> dict:
    values = {"id": f"s{number}", "messages": TURNS, "domain": "theft", **changes}
    return SafetyRecord(**values).to_dict()


def load(path: Path, **settings) -> ReplayDataModule:
    module = ReplayDataModule(str(path), **settings)
    module.setup("fit")
    return module


def test_safety_records_come_back_whole(tmp_path: Path):
    record = SafetyRecord(
        id="s1",
        messages=TURNS,
        domain="theft",
        behaviour="refusal",
        difficulty="hard",
        response_harmful=False,
        judge=JudgeInfo("refusal_matcher", "1"),
        finish_reason="stop",
        origin=Origin("m", seed=3),
        scores={"perplexity": 7.5},
    )
    write_jsonl(tmp_path / "replay.jsonl", [record.to_dict()])
    assert load(tmp_path / "replay.jsonl").records == [record]


def test_unsafe_and_cut_records_are_left_out_and_counted(tmp_path: Path):
    rows = [
        safety(0),
        safety(1, response_harmful=True),
        safety(2, finish_reason="length"),
        safety(3, response_harmful=False),
    ]
    write_jsonl(tmp_path / "r.jsonl", rows)
    module = load(tmp_path / "r.jsonl")
    assert [record.id for record in module.records] == ["s0", "s3"]
    assert module.num_excluded == {"unsafe": 1, "cut_by_length": 1}


def test_messages_rows(tmp_path: Path):
    write_jsonl(
        tmp_path / "hf.jsonl",
        [{"messages": TURNS}, {"messages": TURNS, "difficulty": "Hard", "domain": "drugs", "id": 5}],
    )
    first, second = load(tmp_path / "hf.jsonl").records
    assert first.id.startswith("hf-1-")
    assert (first.messages, first.domain, first.difficulty) == (TURNS, "", None)
    assert (second.id, second.domain, second.difficulty) == ("5", "drugs", "hard")


def test_the_reference_codes_csv(tmp_path: Path):
    path = tmp_path / "reference.csv"
    rows = [
        ("How do I\nget in, please?", "No.", "theft", "easy", "True"),
        ("a", "b", "theft", "hard", "False"),
        ("None", "b", "theft", "hard", "True"),
        ("a", "NaN", "theft", "hard", "True"),
        ("a", "", "theft", "hard", "True"),
        ("a", "b", "theft", "hard", ""),
        ("c", "I won't.", "drugs", "", "1"),
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "response", "domain", "difficulty", "is_safe"))
        writer.writerows(rows)
    module = load(path)
    assert [(r.messages[0]["content"], r.messages[1]["content"], r.domain, r.difficulty) for r in module.records] == [
        ("How do I\nget in, please?", "No.", "theft", "easy"),
        ("c", "I won't.", "drugs", None),
    ]
    assert [r.response_harmful for r in module.records] == [False, False]
    assert module.num_excluded == {"unsafe": 1, "empty_text": 3, "unlabelled": 1}


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        *((value, "unsafe") for value in (False, "false", "False", 0, 0.0, "0", "no")),
        *((value, None) for value in (True, "true", "TRUE ", 1, 1.0, "1", "yes")),
        *((value, "unlabelled") for value in (None, "", "None", "nan")),
    ],
)
@pytest.mark.parametrize("form", [{"messages": TURNS}, {"query": "a", "response": "b"}])
def test_is_safe_means_the_same_in_every_form(tmp_path: Path, form: dict, label: object, reason: str | None):
    write_jsonl(tmp_path / "r.jsonl", [{"messages": TURNS}, {**form, "is_safe": label}])
    module = load(tmp_path / "r.jsonl")
    assert module.num_excluded == ({} if reason is None else {reason: 1})
    assert [record.response_harmful for record in module.records] == ([None] if reason else [None, False])


@pytest.mark.parametrize(("label", "is_kept"), [("false", True), (0, True), (None, True), ("true", False), (1, False)])
def test_response_harmful_means_the_same_in_every_form(tmp_path: Path, label: object, is_kept: bool):
    rows = [safety(0), {**safety(1), "response_harmful": label}, {"messages": TURNS, "response_harmful": label}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    module = load(tmp_path / "r.jsonl")
    expected = None if label is None else False
    assert [record.response_harmful for record in module.records] == [None, *([expected] * 2 if is_kept else [])]
    assert module.num_excluded == ({} if is_kept else {"unsafe": 2})


def test_messages_rows_bring_their_labels_and_system_texts(tmp_path: Path):
    row = {"messages": TURNS, "system": "Be kind.", "prompt_harmful": "True", "response_refusal": 1, "tools": [{}]}
    write_jsonl(tmp_path / "r.jsonl", [row, {"messages": TURNS, "finish_reason": "length"}])
    module = load(tmp_path / "r.jsonl", ignore_columns=["tools"])
    (record,) = module.records
    assert record.messages == [{"role": "system", "content": "Be kind."}, *TURNS]
    assert (record.prompt_harmful, record.response_refusal) == (True, True)
    assert module.num_excluded == {"cut_by_length": 1}
    assert module.lines == [1]


def test_ids_of_imported_rows_do_not_change_between_runs(tmp_path: Path):
    write_jsonl(tmp_path / "hf.jsonl", [{"messages": TURNS}, {"messages": TURNS}])
    first, again = load(tmp_path / "hf.jsonl"), load(tmp_path / "hf.jsonl")
    assert [r.id for r in first.records] == [r.id for r in again.records]
    assert len({r.id for r in first.records}) == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "x"}, "columns text are not those of a safety row"),
        ({"query": "x"}, "no column response and no column is_safe"),
        ({"query": "x", "response": "y", "is_safe": "maybe"}, "is_safe is 'maybe'. Write true or false"),
        ({"query": "x", "response": "y", "is_safe": 0.5}, "is_safe is 0.5. Write true or false"),
        ({"query": "x", "response": "y", "is_safe": [0]}, r"is_safe is \[0\]. Write true or false"),
        ({"messages": TURNS, "is_safe": "unsafe"}, "is_safe is 'unsafe'. Write true or false"),
        ({"messages": TURNS, "response_harmful": 2}, "response_harmful is 2. Write true or false"),
        ({"messages": TURNS, "prompt_harmful": {}}, "prompt_harmful is {}. Write true or false"),
        ({**safety(1), "response_harmful": [0]}, r"response_harmful is \[0\]. Write true or false"),
        ({**safety(1), "response_refusal": 0.5}, "response_refusal is 0.5. Write true or false"),
        ({**safety(1), "finish_reason": "eos"}, "finish_reason is 'eos'. Use stop, length, or leave it out"),
        ({**safety(1), "scores": {"a": "high"}}, "scores is {'a': 'high'}"),
        ({**safety(1), "domain": ["theft"]}, r"domain is \['theft'\]"),
        ({"messages": TURNS, "tools": [{"name": "x"}]}, "column 'tools' is part of a conversation"),
        ({"query": "x", "response": "y", "is_safe": True, "system": 5}, "column 'system' is of type int"),
        ({"messages": [{**TURNS[0], "content": "q \udc4d"}, TURNS[1]]}, r"turn 1 \(user\) holds half of a surrogate"),
        ({**safety(1), "messages": [TURNS[0], {**TURNS[1], "content": "\ud83d"}]}, r"turn 2 \(assistant\) holds half"),
        ({"messages": TURNS, "domain": "\ud83d"}, "domain holds half of a surrogate pair"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "unknown role 'robot'"),
        ({"messages": TURNS, "difficulty": "medium"}, "difficulty is 'medium'. Use easy, hard, or leave it out"),
        ({**safety(1), "schema": "grsap.safety/9"}, "schema is 'grsap.safety/9'"),
        ({**safety(1), "colour": "red"}, "unexpected keyword argument 'colour'"),
        ({**safety(1), "judge": {"nom": "x"}}, "unexpected keyword argument 'nom'"),
        ({**safety(1), "behaviour": "rude"}, "behaviour is 'rude'. Use refusal, safe_explanation, benign_answer"),
        (safety(0), "the id 's0' occurs twice"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, row: dict, problem: str):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (safety(0), row)))
    with pytest.raises(DataError, match=problem) as caught:
        load(path)
    assert (caught.value.path, caught.value.line) == (path, 2)


def test_nothing_to_replay(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty.jsonl: no row to replay \(the file is empty\)"):
        load(tmp_path / "empty.jsonl")
    write_jsonl(tmp_path / "bad.jsonl", [safety(1, response_harmful=True)])
    with pytest.raises(DataError, match=r"no row to replay \(1 unsafe\)"):
        load(tmp_path / "bad.jsonl")
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        load(tmp_path / "none.jsonl")


def write_manifest(folder: Path, **entry) -> None:
    (folder / "manifest.json").write_text(json.dumps({"files": {"r.jsonl": entry}}))


def test_manifest_is_checked_where_it_lists_the_file(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    write_jsonl(path, [safety(0), safety(1, response_harmful=True)])
    write_manifest(tmp_path, num_rows=2, hash=hash_file(path))
    assert len(load(path, require_manifest=True).records) == 1
    write_manifest(tmp_path, num_rows=3, hash=hash_file(path))
    with pytest.raises(DataError, match=r"r.jsonl: num_rows is 2, but manifest.json says 3"):
        load(path)
    write_manifest(tmp_path, num_rows=2, hash="0" * 16)
    with pytest.raises(DataError, match=f"hash is {hash_file(path)}, but manifest.json says 0000"):
        load(path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: not a manifest"):
        load(path)


@pytest.mark.parametrize("manifest", [None, {"files": {"other.jsonl": {}}}, {"seed": 1}])
def test_manifest_may_be_absent_unless_it_is_required(tmp_path: Path, manifest: dict | None):
    path = tmp_path / "r.jsonl"
    write_jsonl(path, [safety(0)])
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert len(load(path).records) == 1
    with pytest.raises(DataError, match=r"no entry for r.jsonl, and require_manifest is set"):
        load(path, require_manifest=True)
