"""Sets from files and folders: included and excluded rows, draws, and errors."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from tests.similarity.conftest import Write, make_records

from grsap.errors import DataError
from grsap.records import SafetyRecord
from grsap.similarity.populations import query_of, read_population, response_of


def test_shards_of_a_folder_in_order(write: Write, tmp_path: Path) -> None:
    rows = make_records(7, 0)
    write("raw/shard-00001.jsonl", rows[4:])
    write("raw/shard-00000.jsonl", rows[:4])
    write("raw/attempts.jsonl.log", rows[:1])
    found = read_population("raw", str(tmp_path / "raw"))
    assert found.records == rows
    assert list(found.files) == ["shard-00000.jsonl", "shard-00001.jsonl"]


def test_safety_records_are_included_regardless_of_their_labels(write: Write) -> None:
    rows = make_records(4, 0)
    rows[1] = replace(rows[1], response_harmful=True)
    rows[2] = replace(rows[2], finish_reason="length", behaviour=None)
    found = read_population("raw", write("raw.jsonl", rows))
    assert found.records == rows
    described = found.describe()
    assert (described["num_rows"], described["num_excluded"]) == (4, {})
    assert (described["num_distinct_queries"], described["num_distinct_responses"]) == (4, 3)
    assert described["behaviours"] == {"": 1, "benign_answer": 1, "refusal": 2}
    assert sum(described["domains"].values()) == 4


def test_other_formats_exclude_what_a_replay_set_excludes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["query", "response", "is_safe"], ["a ?", "b .", "true"], ["c ?", "d .", "false"]])
    found = read_population("reference", str(path))
    assert [query_of(record) for record in found.records] == ["a ?"]
    assert dict(found.num_excluded) == {"unsafe": 1}


def test_query_and_response_of_several_turns() -> None:
    turns = [
        ("system", "Be kind."),
        ("user", "One?"),
        ("assistant", "1."),
        ("user", "Two?"),
        ("assistant", "2 \ud800."),
    ]
    record = SafetyRecord("a", [{"role": role, "content": text} for role, text in turns], "")
    assert query_of(record) == "One?\n\n1.\n\nTwo?"
    assert response_of(record) == "2 ?."


def test_draws_are_without_repeats_and_begin_alike(write: Write) -> None:
    found = read_population("raw", write("raw.jsonl", make_records(30, 0)))
    drawn = [record.id for record in found.draw(20, seed=1)]
    assert len(set(drawn)) == 20
    assert [record.id for record in found.draw(8, seed=1)] == drawn[:8]
    assert [record.id for record in found.draw(20, seed=2)] != drawn
    assert len(found.draw(99, seed=1)) == 30


def test_errors_name_the_place(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").write_text("")
    twice = write("twice.jsonl", [*make_records(2, 0), *make_records(1, 0)])
    for path, message in [
        (str(tmp_path / "empty"), "raw is a folder without shard-*.jsonl"),
        (str(tmp_path / "no.jsonl"), "no.jsonl: raw: no such file"),
        (str(tmp_path / "none.jsonl"), "raw has no row"),
        (twice, "twice.jsonl, line 3: the id 'row-0' occurs twice"),
    ]:
        with pytest.raises(DataError) as error:
            read_population("raw", path)
        assert message in str(error.value)
