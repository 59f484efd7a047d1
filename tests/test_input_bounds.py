"""Size and nesting of all that is parsed: files and lines that would exhaust the machine are refused by name."""

from __future__ import annotations

import ast
import csv
import json
import time
from pathlib import Path

import pytest

from grsap import json_text, records
from grsap.curation.raw_rows import RawRows
from grsap.data import tables
from grsap.data.extraction import ExtractionTask
from grsap.errors import DataError, ModelError
from grsap.json_text import MAX_DEPTH, parse_json, read_json
from grsap.models.weight_files import read_json_object
from grsap.records import read_jsonl
from grsap.runs.metrics import is_step
from grsap.training.metrics_log import MetricsLog

SOURCE = Path(__file__).parents[1] / "src" / "grsap"


def nested(depth: int, opening: str = "[", closing: str = "]", inner: str = "1") -> str:
    return opening * depth + inner + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    text = nested(MAX_DEPTH // levels, opening, closing)
    assert json.dumps(parse_json(text)).replace(" ", "") == text
    for depth in (MAX_DEPTH // levels + 1, 1_000, 200_000):
        with pytest.raises(ValueError, match="nested more than 100 levels deep"):
            parse_json(nested(depth, opening, closing))
        with pytest.raises(ValueError, match="nested more than 100 levels deep"):
            parse_json(opening * depth)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(["[" * 500, "{" * 500]),
        json.dumps('"' * 300 + "[" * 300),
        json.dumps(["\\" * 301 + "[" * 300 + "\\"]),
        json.dumps([[n, {"a": [n]}] for n in range(500)]),
        json.dumps({"a": ["\n[\t{" * 200]}),
    ],
)
def test_brackets_within_strings_and_many_of_them_are_no_nesting(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("text", ['"' + '\\"' * 300_000, '["' + "[" * 300_000, "{" * 90 + '"' * 300_001, "]" * 300_000])
def test_looking_for_brackets_takes_linear_time(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"column|nested"):
        parse_json(text + "[" * 200)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("text", ["9" * 301, "-" + "9" * 300, "[1, " + "1" * 5_000 + "]", "1e999", "-1e999"])
def test_numbers_are_bounded(text: str) -> None:
    with pytest.raises(ValueError, match=r"more than 300 digits|is too large"):
        parse_json(text)
    assert float(parse_json("9" * 300)) == 1e300


def test_constants_are_taken_from_models_only(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"time_step_limit": [0.0, Infinity]}')
    assert read_json_object(tmp_path / "config.json") == {"time_step_limit": [0.0, float("inf")]}
    with pytest.raises(ValueError, match="Infinity is not JSON"):
        read_json(tmp_path / "config.json")
    for text in (nested(101), '{"a": ' + "9" * 301 + "}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError, match=r"config\.json is not valid JSON: "):
            read_json_object(tmp_path / "config.json")


def test_size_is_bounded_before_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: nothing is on disk
    monkeypatch.setattr(json_text, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_json(path)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        parse_json(" " * (2**20 + 1))


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": "a"}\n')
        file.truncate(2**40)
    for module in (json_text, records):
        monkeypatch.setattr(module, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2: not JSON \(more than 1 MiB\)"):
        list(read_jsonl(path))
    with pytest.raises(DataError, match=r"rows\.jsonl, line "):
        RawRows(path)


@pytest.mark.parametrize("value", [nested(101), nested(5_000, '{"a":', "}"), "9" * 400])
def test_rows_are_bounded(value: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"id": "a", "extra": {value}}}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl, line 1: not JSON \("):
        list(read_jsonl(path))


def test_csv_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 2**20)
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n1,2\n")
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"rows\.csv, line 3: longer than 1 MiB"):
        list(tables.read_table(path))
    path.write_text('a,b\n1,"' + "x" * 1_000 + "\n" * 10 + '"\n')
    monkeypatch.setattr(tables, "MAX_CELL_CHARACTERS", 500)
    with pytest.raises(DataError, match=r"field limit.*Close the quotes"):
        list(tables.read_table(path))
    csv.field_size_limit(131_072)


def test_parquet_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal cells take hardly a byte in the file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"text": ["a"] * 300 + ["x" * 100_000] * 300}), path)
    assert path.stat().st_size < 300_000
    monkeypatch.setattr(tables, "MAX_BATCH_BYTES", 2**20)
    found = tables.read_table(path)
    assert [next(found)[0].line for _ in range(256)] == list(range(1, 257))
    with pytest.raises(DataError, match="rows 257 to 512 take more than 1 MiB"):
        next(found)


@pytest.mark.parametrize("response", ["[" * 100_000, nested(200), "9" * 5_000, '{"a": 1e999}', '{"a": NaN}'])
def test_a_models_answer_does_not_end_its_evaluation(response: str) -> None:
    task = ExtractionTask(4, 1, 1)
    assert task.score(response, task.rows("train")[0]) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"), [("12", True), ("", False), ("²", False), ("٣", False), ("9" * 13, False), ("-1", False)]
)
def test_numbers_of_steps(text: str, expected: bool) -> None:
    assert is_step(text) == expected


def test_a_metrics_file_that_is_none_of_ours_is_set_aside(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.path.write_text("step,key,value\n1,a,2\n²,a,2\n" + "9" * 5_000 + ",a,2\n")
    log.truncate_after(5)
    assert log.path.read_text() == "step,key,value\n1,a,2\n"
    log.path.write_text('step,key,value\n1,"' + "x" * 200_000 + '",2\n')
    log.truncate_after(5)
    assert not log.path.exists()


ALLOWED = {
    "json.loads": {"json_text.py", "appending.py", "callbacks/provenance.py", "checksums.py", "curation/running.py"},
    "json.load": set(),
    "yaml.load": {"yaml_text.py"},
    "yaml.safe_load": set(),
    "yaml.unsafe_load": set(),
    "yaml.full_load": set(),
    "pickle.load": set(),
    "pickle.loads": set(),
    "csv.reader": {"data/tables.py", "runs/metrics.py", "training/metrics_log.py"},
    "csv.DictReader": set(),
    "eval": set(),
    "exec": set(),
}
"""Who may call a parser that has no bounds of its own. appending looks at its own last line; provenance, checksums
and curation at what they have just written."""


def called(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_each_format_has_one_reader() -> None:
    found: dict[str, set[str]] = {name: set() for name in ALLOWED}
    for path in SOURCE.rglob("*.py"):
        for name in called(ast.parse(path.read_text(encoding="utf-8"))) & set(ALLOWED):
            found[name].add(path.relative_to(SOURCE).as_posix())
    assert found == ALLOWED
