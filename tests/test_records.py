"""Rows that are read and written by every stage, and what is said of wrong ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from grsap.errors import DataError
from grsap.records import JudgeInfo, Origin, Probe, SafetyRecord, check_messages, read_jsonl, read_probes, write_jsonl


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"text {number}"} for number, role in enumerate(roles)]


RECORD = SafetyRecord(
    id="r1",
    messages=turns("user", "assistant"),  # type: ignore[arg-type]
    domain="theft",
    behaviour="refusal",
    difficulty="hard",
    prompt_harmful=True,
    response_harmful=None,
    response_refusal=True,
    judge=JudgeInfo("wildguard", "abc"),
    finish_reason="stop",
    origin=Origin("m", seed=3, attempt=1),
    parent_id="r0",
    scores={"perplexity": 12.5},
)


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "replay.jsonl", [RECORD.to_dict()])
    [(line, row)] = list(read_jsonl(tmp_path / "replay.jsonl"))
    assert line == 1
    assert SafetyRecord.from_dict(row) == RECORD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other/1"}, "replay.jsonl, line 4: schema is 'other/1', not 'grsap.safety/1'"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
        ({"response_harmful": "perhaps"}, "replay.jsonl, line 4: response_harmful is 'perhaps'. Write true or false"),
        ({"judge": "wildguard"}, "replay.jsonl, line 4: judge is 'wildguard'"),
        ({"parent_id": 3}, "replay.jsonl, line 4: parent_id is 3"),
        ({"judge": {"nome": "x"}}, "unexpected keyword argument 'nome'"),
        ({"messages": []}, "messages is not a list of turns"),
        ({"id": 5}, "replay.jsonl, line 4: id is 5. Give each row a text as id"),
        ({"id": ""}, "replay.jsonl, line 4: id is ''"),
        ({"id": None}, "replay.jsonl, line 4: id is None"),
    ],
)
def test_a_wrong_record_names_file_line_and_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        SafetyRecord.from_dict({**RECORD.to_dict(), **change}, path="replay.jsonl", line=4)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("text", "messages is not a list of turns"),
        (turns("user", "tool"), "turn 2 has the unknown role 'tool'"),
        ([{"role": "user", "content": " "}], "turn 1 (user) has no text"),
        ([{"role": "user", "text": "x"}], "turn 1 must have exactly the keys role and content"),
        (turns("user", "system", "assistant"), "a system turn follows another turn"),
        (turns("user", "user", "assistant"), "must alternate, user first"),
        (turns("assistant"), "must alternate, user first"),
        (turns("system"), "the last turn is not assistant"),
        (turns("user"), "the last turn is not assistant"),
    ],
)
def test_wrong_messages_say_which_turn(messages: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        check_messages(messages)


def test_good_messages_pass() -> None:
    check_messages(turns("user", "assistant"))
    check_messages(turns("system", "user", "assistant", "user", "assistant"))
    check_messages(turns("system", "user"), last="user")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": \n', "rows.jsonl, line 2: not JSON (Expecting value, column 6)"),
        (b'{"a": 1}\n\n[1]\n', "rows.jsonl, line 3: a list, not an object"),
        (b'{"a": "\xff"}\n', "rows.jsonl, line 1: not UTF-8"),
        (b'\n{"a": 1, "a": 1}\n', "rows.jsonl, line 2: not JSON (the key 'a' occurs twice in one object)"),
        (b'{"a": -Infinity}\n', "rows.jsonl, line 1: not JSON (-Infinity is not JSON: write null)"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        list(read_jsonl(tmp_path / "rows.jsonl"))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        list(read_jsonl("nowhere.jsonl"))


def test_probes_are_read_with_their_subset(tmp_path: Path) -> None:
    rows = [
        {"id": "h", "messages": turns("user"), "domain": "theft", "subset": "harmful", "pair_id": "p"},
        {"id": "t", "messages": turns("user"), "domain": "theft", "subset": "twin", "pair_id": "p"},
    ]
    path = tmp_path / "probes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    probes = read_probes(path)
    assert probes == [
        Probe("h", turns("user"), "theft", "harmful", "p"),  # type: ignore[arg-type]
        Probe("t", turns("user"), "theft", "twin", "p"),  # type: ignore[arg-type]
    ]
    assert [probe.prompt_harmful for probe in probes] == [True, False]
    path.write_text(json.dumps({**rows[0], "subset": "evil"}))
    with pytest.raises(DataError, match="line 1: subset is 'evil'"):
        read_probes(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="contains no probes"):
        read_probes(path)
