from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from grsap.data.jsonl_task import JSONLTask
from grsap.errors import ConfigError, DataError

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": '4, or\n"four"'}]


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(path: str, **settings) -> list:
    task = JSONLTask(path, **settings)
    task.setup("fit")
    return list(task.rows("train"))


def test_messages_with_other_columns_kept(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": TURNS, "id": 7, "level": 3}) + "\n\n")
    assert read(path) == [{"messages": TURNS, "id": "7", "level": 3}]


def test_prompt_and_response_columns_by_any_name(tmp_path: Path):
    row = {"question": "2+2?", "answer": '4, or\n"four"', "persona": "You count."}
    path = write(tmp_path / "a.jsonl", json.dumps(row))
    columns = {"prompt": "question", "response": "answer", "system": "persona"}
    assert read(path, columns=columns) == [{**row, "messages": [{"role": "system", "content": "You count."}, *TURNS]}]


def test_csv_with_quotes_commas_line_breaks_and_byte_order_mark(tmp_path: Path):
    text = '\ufeffprompt,response\r\n2+2?,"4, or\n""four"""\r\n1+1?,2\r\n'
    rows = read(write(tmp_path / "a.csv", text))
    assert rows[0]["messages"] == TURNS
    assert rows[1]["messages"][1]["content"] == "2"


def test_parquet(tmp_path: Path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"messages": [TURNS, TURNS], "n": [1, 2]}), path)
    assert read(str(path)) == [{"messages": TURNS, "n": 1}, {"messages": TURNS, "n": 2}]


def test_splits_without_a_file_are_empty(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": TURNS}))
    task = JSONLTask(path, test_path=path)
    assert [len(task.rows(split)) for split in ("train", "validation", "test")] == [1, 0, 1]


def test_exact_match_is_a_score_only_if_asked_for(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"prompt": "2+2?", "response": "4"}))
    (row,) = read(path)
    task = JSONLTask(path, exact_match=True)
    assert (JSONLTask(path).has_score, task.has_score) == (False, True)
    assert [task.score(text, row) for text in (" 4\n", "5", "4.")] == [1.0, 0.0, 0.0]


GOOD = json.dumps({"prompt": "a", "response": "b"})


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        ("a.jsonl", f"{GOOD}\n{{broken\n", 2, "not JSON"),
        ("a.jsonl", f"{GOOD}\n\n[1]\n", 3, "a list, not an object"),
        ("a.jsonl", json.dumps({"messages": [{"role": "bot", "content": "x"}]}), 1, "unknown role 'bot'"),
        ("a.jsonl", json.dumps({"messages": TURNS[:1]}), 1, "the last turn is not assistant"),
        ("a.jsonl", f'{GOOD}\n{{"prompt": "a", "response": " "}}', 2, r"turn 2 \(assistant\) has no text"),
        ("a.jsonl", json.dumps({"prompt": "a", "response": 5}), 1, "column 'response' is of type int, not text"),
        ("a.jsonl", json.dumps({"question": "a"}), 1, r"no column 'prompt' .*Its columns are question: map yours"),
        ("a.csv", 'prompt,response\na,b\n"c\nd",e\nf,g,h\n', 5, r"not as many cells as the header \(2\)"),
        ("a.csv", "prompt,response\na\n", 2, r"not as many cells as the header \(2\)"),
        ("a.csv", 'prompt,response\na,"b"c\n', 2, "not CSV"),
        ("a.csv", 'prompt,response\na,"b\n', 2, "not CSV"),
        ("a.jsonl", b'{"prompt": "\xff"}', 1, "not UTF-8"),
        ("a.parquet", b"PAR1 no", None, "not a Parquet file"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(
    tmp_path: Path, name: str, text: str | bytes, line: int | None, problem: str
):
    path = write(tmp_path / name, text)
    with pytest.raises(DataError, match=f"{name}(, line {line})?: .*{problem}") as caught:
        read(path)
    assert (caught.value.path, caught.value.line) == (Path(path), line)


def test_a_mapped_column_that_is_not_there(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(DataError, match=r"line 1: no column 'dialog'. Its columns are prompt, response"):
        read(path, columns={"messages": "dialog"})


def test_a_missing_file_is_found_before_any_is_read(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", "{broken")
    task = JSONLTask(path, test_path=str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"none.jsonl: no such file. Check data.task test_path"):
        task.setup("fit")


def test_other_kinds_of_files(tmp_path: Path):
    with pytest.raises(DataError, match=r"files of kind .txt are not read. Use .jsonl, .csv, .parquet"):
        JSONLTask(write(tmp_path / "a.txt", "x")).setup("fit")


def test_unknown_names_in_columns():
    with pytest.raises(
        ConfigError, match=r"columns names query. Its keys may be id, messages, system, prompt, response"
    ):
        JSONLTask("a.jsonl", columns={"query": "q"})
