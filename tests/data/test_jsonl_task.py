from __future__ import annotations

import csv
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
        ("a.csv", 'prompt,response\na,b\n"c\nd",e\nf,g,h\n', 5, r"cells, but the header has 2"),
        ("a.csv", "prompt,response\na\n", 2, r"cells, but the header has 2"),
        ("a.csv", 'prompt,response\na,"b"c\n', 2, "not CSV"),
        ("a.csv", 'prompt,response\na,"b\n', 2, "not CSV"),
        ("a.jsonl", b'{"prompt": "\xff"}', 1, "not UTF-8"),
        ("a.jsonl", b"\x1f\x8b\x08\x00\xff", 1, "gzip-compressed. Unpack it first"),
        ("a.jsonl", '{"prompt": "a", "response": "b", "response": "c"}', 1, "key 'response' occurs twice"),
        ("a.jsonl", '{"messages": [{"role": "user", "role": "user", "content": "a"}]}', 1, "key 'role' occurs twice"),
        ("a.jsonl", '{"prompt": "a", "response": NaN}', 1, "NaN is not JSON: write null"),
        ("a.jsonl", '{"prompt": "a", "response": "b", "n": 1e999}', 1, "the number 1e999 is too large"),
        ("a.jsonl", '{"n": 1' + "0" * 5000 + "}", 1, "a whole number of more than 300 digits"),
        ("a.jsonl", '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}", 1, "nested more than 100 levels deep"),
        (
            "a.jsonl",
            f'\n\n{GOOD}\n{{"prompt": "\\ud83d", "response": "b"}}',
            4,
            r"turn 1 \(user\) holds half of a surr",
        ),
        ("a.jsonl", '{"id": "\\ude00", "prompt": "a", "response": "b"}', 1, "id holds half of a surrogate pair"),
        ("a.jsonl", '{"system": "\\ude00", "prompt": "a", "response": "b"}', 1, "'system' holds half of a surrogate"),
        ("a.jsonl", '{"prompt": null, "response": "b"}', 1, "column 'prompt' is null. Fill or remove the row"),
        ("a.jsonl", '{"messages": "Hello"}', 1, "messages is a string that is not JSON"),
        ("a.jsonl", '{"messages": [{"from": "human", "value": "a"}]}', 1, "Rename from to role .human is user"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "a", "weight": 0}]}', 1, "it has role, content, weight"),
        (
            "a.jsonl",
            '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}',
            1,
            r"turn 1 \(user\) has a part of type image_url, which is not supported",
        ),
        ("a.csv", "prompt,response\n\n\na,\n", 4, r"turn 2 \(assistant\) has no text"),
        ("a.csv", "\n\nprompt,response\n\n\na,b,c\n", 6, "cells, but the header has"),
        ("a.csv", "prompt,response\na,b\0c\n", 2, "contains a NUL character"),
        ("a.csv", "prompt;response\na;b\n", 2, "Separate the cells by commas"),
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


SYSTEM = {"role": "system", "content": "You count."}


def test_a_system_column_stands_before_messages(tmp_path: Path):
    rows = [
        {"messages": TURNS, "system": "You count."},
        {"messages": [SYSTEM, *TURNS], "system": " You count.\n"},
        {"messages": TURNS, "system": None},
        {"messages": [SYSTEM, *TURNS]},
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [row["messages"] for row in read(path)] == [[SYSTEM, *TURNS], [SYSTEM, *TURNS], TURNS, [SYSTEM, *TURNS]]
    path = write(tmp_path / "b.jsonl", json.dumps({"messages": [SYSTEM, *TURNS], "sys": "You sing."}))
    with pytest.raises(DataError, match=r"line 1: column 'sys' and the system turn of messages differ. Keep one"):
        read(path, columns={"system": "sys"})
    assert read(path, ignore_columns=["sys"])[0]["messages"] == [SYSTEM, *TURNS]


@pytest.mark.parametrize("name", ["system", "id"])
def test_a_mapped_column_that_no_row_has(tmp_path: Path, name: str):
    row = {"prompt": "a", "response": "b"}
    path = write(tmp_path / "a.jsonl", json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"a.jsonl: no row has a column 'typo'. Correct columns.{name}, or leave"):
        read(path, columns={name: "typo"})
    path = write(tmp_path / "a.jsonl", json.dumps(row) + "\n" + json.dumps({**row, "typo": "x"}) + "\n")
    assert len(read(path, columns={name: "typo"})) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("functions", [{}]),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("system_prompt", "You count."),
        ("input", "2+2"),
        ("context", "numbers"),
        ("conversations", [{}]),
        ("images", ["a.png"]),
        ("reasoning_content", "two and two"),
    ],
)
def test_a_part_of_the_conversation_that_would_vanish(tmp_path: Path, column: str, value: object):
    form = {"messages": TURNS} if column != "conversations" else {"prompt": "a", "response": "b"}
    path = write(tmp_path / "a.jsonl", json.dumps({**form, column: value}))
    with pytest.raises(
        DataError,
        match=rf"line 1: column '{column}' is part of a conversation and would not be learned. .*ignore_columns: "
        rf"\[{column}\]",
    ):
        read(path)
    (row,) = read(path, ignore_columns=[column])
    assert column not in row
    empty = write(tmp_path / "b.jsonl", json.dumps({**form, column: type(value)()}))
    assert len(read(empty)) == 1


def test_tools_and_switches_of_rows_are_told_apart(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": TURNS, "tools": [{}]}))
    with pytest.raises(DataError, match=r"Rows with tools are not supported: remove them, or set ignore_columns"):
        read(path)
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": TURNS, "chat_template_kwargs": {"a": 1}}))
    with pytest.raises(DataError, match=r"Set model.base.chat_template_kwargs for the whole run, or set ignore"):
        read(path)


def test_a_typing_error_is_told_beside_what_would_vanish(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"prompt": "a", "response": "b", "system_prompt": "c"}))
    with pytest.raises(DataError, match=r"'system_prompt' is part .*; columns.system is 'sytem', which is missing"):
        read(path, columns={"system": "sytem"})


def test_columns_that_are_mapped_go_before_messages(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": TURNS, "q": "a", "response": "b"}))
    with pytest.raises(DataError, match="'messages' is part of a conversation and would not be learned"):
        read(path, columns={"prompt": "q"})
    (row,) = read(path, columns={"prompt": "q"}, ignore_columns=["messages"])
    assert [turn["content"] for turn in row["messages"]] == ["a", "b"]
    with pytest.raises(ConfigError, match=r"columns.messages and a column or template for prompt are both set"):
        JSONLTask("a.jsonl", columns={"messages": "m", "prompt": "q"})


def test_messages_that_are_null_leave_the_other_form(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", json.dumps({"messages": None, "prompt": "a", "response": "b"}))
    assert [turn["content"] for turn in read(path)[0]["messages"]] == ["a", "b"]


def test_turns_as_other_programs_write_them(tmp_path: Path):
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"], "image": None}]} for turn in TURNS]
    split = [{"type": "text", "text": "2"}, {"type": "text", "text": "+2?"}]
    rows = [
        {"messages": parts},
        {"messages": [{"role": "user", "content": split}, {**TURNS[1], "name": None}]},
        {"messages": json.dumps(TURNS)},
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [row["messages"] for row in read(path)] == [TURNS, TURNS, TURNS]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], [json.dumps(TURNS)]])
    assert [row["messages"] for row in read(str(tmp_path / "a.csv"))] == [TURNS]
    unified = [[{**turn, "name": None, "tool_calls": None} for turn in TURNS]]
    parquet.write_table(pa.table({"messages": unified}), tmp_path / "a.parquet")
    assert [row["messages"] for row in read(str(tmp_path / "a.parquet"))] == [TURNS]


def test_null_ids_of_tables_are_none(tmp_path: Path):
    table = pa.table({"prompt": ["a", "b"], "response": ["c", "d"], "id": [1.0, float("nan")]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [row["id"] for row in read(str(tmp_path / "a.parquet"))] == ["1.0", None]


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b"\n" + GOOD.encode())
    assert len(read(path)) == 2


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_columns_of_one_name(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text("prompt,response,response\na,b,c\n")
    else:
        names = ["prompt", "response", "response"]
        parquet.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, names=names), path)
    with pytest.raises(DataError, match=rf"a.{kind}: the column 'response' occurs twice. Rename or remove"):
        read(str(path))


def test_a_missing_file_is_found_before_any_is_read(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", "{broken")
    task = JSONLTask(path, test_path=str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"test_path .*none.jsonl: no such file. Check the path"):
        task.setup("fit")


def test_other_kinds_of_files(tmp_path: Path):
    with pytest.raises(DataError, match=r"unsupported kind of file: .gz. Unpack it first"):
        JSONLTask(write(tmp_path / "a.jsonl.gz", "x")).setup("fit")
    with pytest.raises(DataError, match=r"unsupported kind of file: .json. Write one JSON object per line"):
        JSONLTask(write(tmp_path / "a.json", "x")).setup("fit")
    with pytest.raises(DataError, match=r"unsupported kind of file: .txt. Use .jsonl, .csv, .parquet"):
        JSONLTask(write(tmp_path / "a.txt", "x")).setup("fit")


def test_unknown_names_in_columns():
    with pytest.raises(
        ConfigError, match=r"columns names query. Its keys may be id, messages, system, prompt, response"
    ):
        JSONLTask("a.jsonl", columns={"query": "q"})
