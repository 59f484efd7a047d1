"""`grsap import` as a command, on files made here."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.cli import main
from grsap.data import ReplayDataModule
from grsap.files import hash_file

ROWS = [
    {"q": "one", "a": "no", "topic": "theft", "safe": True, "from": "x"},
    {"q": "two", "a": "never", "topic": None, "safe": "TRUE", "from": "x"},
    {"q": "three", "a": "sure", "topic": "theft", "safe": False, "from": "x"},
    {"q": "four", "a": "hm", "topic": "theft", "safe": None, "from": "x"},
    {"q": "one", "a": "no", "topic": "fraud", "safe": True, "from": "x"},
    {"q": "five", "a": "None", "topic": "theft", "safe": True, "from": "x"},
    {"q": " ", "a": "no", "topic": "theft", "safe": True, "from": "x"},
    {"q": "six", "a": "no", "topic": "theft", "safe": True, "from": "y"},
    {"q": "seven", "a": "no", "topic": "theft", "safe": True, "from": "z"},
    {"q": "eight \ud800", "a": "no", "topic": "theft", "safe": True, "from": "x"},
]
SETTINGS: dict[str, Any] = {
    "source": {"path": "rows.jsonl"},
    "columns": {"prompt": "q", "response": "a", "domain": "topic"},
    "where": {"from": ["x", "z"]},
    "without": {"from": ["z"]},
    "prompt_harmful": True,
    "response_harmful": {"column": "safe", "harmful": [False], "harmless": [True]},
}
EXCLUDED = {"empty_text": 2, "not_selected": 2, "not_unicode": 1, "repeated": 1, "unlabelled": 1, "unsafe": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: " ".join(capsys.readouterr().err.split())


def write_jsonl(rows: list[dict[str, Any]], path: str = "rows.jsonl") -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(changes: dict[str, Any] | None = None, *words: str) -> int:
    Path("import.yaml").write_text(yaml.safe_dump({**SETTINGS, **(changes or {})}))
    return main(["import", "--config", "import.yaml", "--output_dir", "out", *words])


def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out/replay.jsonl").read_text().splitlines()]


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("out/manifest.json").read_text())
    return found


def test_rows_labels_and_exclusions(capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(ROWS)
    assert run() == 0
    first, second = records()
    assert first["messages"] == [{"role": "user", "content": "one"}, {"role": "assistant", "content": "no"}]
    assert (first["schema"], first["domain"], first["prompt_harmful"]) == ("grsap.safety/1", "theft", True)
    assert (first["response_harmful"], second["domain"]) == (False, "")
    assert first["id"].startswith("rows-")
    assert manifest()["num_excluded"] == EXCLUDED
    assert manifest()["num_read"] == len(ROWS) == 2 + sum(EXCLUDED.values())
    assert manifest()["domains"] == {"": 1, "theft": 1}
    assert manifest()["source"] == {"path": "rows.jsonl", "hash": hash_file("rows.jsonl")}
    assert manifest()["files"] == {"replay.jsonl": {"num_rows": 2, "hash": hash_file("out/replay.jsonl")}}
    shown = capsys.readouterr().out
    assert "repeated" in shown
    assert "never" not in shown  # no text of rows


def test_the_replay_set_reads_it_and_only_its_owner_may() -> None:
    write_jsonl(ROWS)
    assert run() == 0
    replay = ReplayDataModule("out/replay.jsonl", require_manifest=True)
    replay.setup("fit")
    assert [record.messages[0]["content"] for record in replay.records] == ["one", "two"]
    assert stat.S_IMODE(Path("out/replay.jsonl").stat().st_mode) == 0o600


def test_csv_and_parquet_give_the_same_rows() -> None:
    rows = [{**row, "topic": row["topic"] or ""} for row in ROWS[:-1]]
    write_jsonl(rows)
    assert run() == 0
    expected = records()
    with Path("rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").Table.from_pylist([{**row, "safe": str(row["safe"])} for row in rows])
    parquet.write_table(table, "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        assert main(["import", "--config", "import.yaml", "--source.path", name, "--output_dir", name + ".out"]) == 0
        found = [json.loads(line) for line in (Path(name + ".out") / "replay.jsonl").read_text().splitlines()]
        assert found == expected


def test_a_data_set_as_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("cache").absolute())
    Path("set").mkdir()
    write_jsonl(ROWS[:3], "set/a.jsonl")
    Path("set/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: a.jsonl\n---\n"
    )
    rows = [{**row, "safe": str(row["safe"])} for row in ROWS[:3]]  # a data set's column has one type
    write_jsonl(rows, "set/a.jsonl")
    assert run({"source": {"path": "set", "splits": ["train"]}}) == 0
    assert [row["messages"][0]["content"] for row in records()] == ["one", "two"]
    assert manifest()["source"]["splits"] == ["train"]


def test_ids_are_the_content_s_or_the_column_s() -> None:
    write_jsonl(ROWS)
    run()
    ids = {row["messages"][0]["content"]: row["id"] for row in records()}
    write_jsonl(ROWS[::-1])
    assert main(["import", "--config", "import.yaml", "--output_dir", "back"]) == 0
    back = [json.loads(line) for line in Path("back/replay.jsonl").read_text().splitlines()]
    assert {row["messages"][0]["content"]: row["id"] for row in back} == ids
    write_jsonl([{**row, "number": number} for number, row in enumerate(ROWS)])
    columns = {**SETTINGS["columns"], "id": "number"}
    Path("import.yaml").write_text(yaml.safe_dump({**SETTINGS, "columns": columns}))
    assert main(["import", "--config", "import.yaml", "--output_dir", "named"]) == 0
    assert [json.loads(line)["id"] for line in Path("named/replay.jsonl").read_text().splitlines()] == ["0", "1"]


def test_a_limit_draws_by_seed_whatever_the_order() -> None:
    rows = [{"q": f"number {n}", "a": "no", "topic": "", "safe": True, "from": "x"} for n in range(40)]
    write_jsonl(rows)
    assert run({"limit": 8}) == 0
    drawn = [int(row["messages"][0]["content"].split()[1]) for row in records()]
    assert drawn == sorted(drawn)
    assert (len(drawn), manifest()["num_excluded"]) == (8, {"not_drawn": 32})
    write_jsonl(rows[::-1])
    assert main(["import", "--config", "import.yaml", "--output_dir", "back"]) == 0
    back = [json.loads(line) for line in Path("back/replay.jsonl").read_text().splitlines()]
    assert {int(row["messages"][0]["content"].split()[1]) for row in back} == set(drawn)
    assert main(["import", "--config", "import.yaml", "--seed", "1", "--output_dir", "other"]) == 0
    assert Path("other/replay.jsonl").read_text() != Path("back/replay.jsonl").read_text()


def test_the_same_call_again_prints_the_result_and_a_changed_file_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], error_of: Callable[[], str]
) -> None:
    write_jsonl(ROWS)
    assert run() == 0
    before = Path("out/replay.jsonl").stat().st_mtime_ns
    shown = capsys.readouterr().out
    assert run() == 0
    assert capsys.readouterr().out == shown
    assert Path("out/replay.jsonl").stat().st_mtime_ns == before
    with Path("out/replay.jsonl").open("a") as file:
        file.write("{}\n")
    assert run() == 2
    assert "was changed after it was imported" in error_of()
    assert Path("out/replay.jsonl").read_text().endswith("{}\n")


def test_templates_and_messages() -> None:
    write_jsonl([{"q": "one", "extra": {"why": "because"}, "a": "no"}, {"q": None, "extra": {"why": "x"}, "a": "no"}])
    plain = {"source": {"path": "rows.jsonl"}, "columns": {"response": "a"}, "prompt_template": "{q}? {extra[why]}"}
    Path("import.yaml").write_text(yaml.safe_dump(plain))
    assert main(["import", "--config", "import.yaml", "--output_dir", "out"]) == 0
    (row,) = records()
    assert row["messages"][0]["content"] == "one? because"
    assert manifest()["num_excluded"] == {"empty_text": 1}
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    write_jsonl([{"messages": turns}, {"messages": turns[:2]}, {"messages": [*turns[1:], *turns[1:]]}])
    assert main(["import", "--source.path", "rows.jsonl", "--output_dir", "chats"]) == 0
    found = [json.loads(line) for line in Path("chats/replay.jsonl").read_text().splitlines()]
    assert [len(row["messages"]) for row in found] == [3, 4]
    counts = json.loads(Path("chats/manifest.json").read_text())["num_excluded"]
    assert counts == {"wrong_turns": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"columns": {"prompt": "question", "response": "a"}},
            "rows.jsonl, line 1: no column 'question'. Its columns are q, a, topic, safe, from",
        ),
        (
            {"columns": {"prompt": "q", "response": "a", "domain": "area"}},
            "line 1: no column 'area'. Its columns are q, a",
        ),
        (
            {"columns": {"question": "q"}},
            "columns names question. Its keys may be id, messages, system, prompt, response, domain",
        ),
        (
            {"where": {"origin": ["x"]}},
            "line 1: no column 'origin'. Its columns are q, a, topic, safe, from: correct where",
        ),
        ({"response_harmful": {"column": "label", "harmful": [1], "harmless": [0]}}, "no column 'label'"),
        ({"choose": {"column": "pick", "cases": {"0": {"x": "a"}}}}, "no column 'pick'"),
        ({"choose": {"column": "from", "cases": {"x": {"r": "b"}}}}, "no column 'b'"),
        ({"columns": {"prompt": "q", "response": "safe"}}, "column 'safe' is of type bool, not text"),
        ({"columns": {"prompt": "q", "response": "a", "behaviour": "topic"}}, "behaviour is 'theft'. Use refusal"),
        ({"columns": {"prompt": "q", "response": "a", "id": "from"}}, "line 2: the id 'x' occurs twice"),
        ({"where": {"from": ["nowhere"]}}, "no row is left (10 not_selected)"),
        ({"prompt_template": "{q}"}, "columns.prompt and prompt_template are both set. Keep one of them"),
        (
            {"columns": {"response": "a"}, "prompt_template": "{question}"},
            "prompt_template '{question}' does not fit",
        ),
        (
            {"columns": {"prompt": "q", "response": "a", "system": "sys"}},
            "rows.jsonl: no row has a column 'sys'. Correct columns.system, or leave it out",
        ),
        ({"limit": 0}, "limit is 0"),
        ({"source": {"path": "missing.csv"}}, "missing.csv: no such file"),
        ({"source": {"path": "a/b"}}, "source.splits is missing"),
        ({"wherever": {}}, "wherever"),
    ],
)
def test_errors_name_the_setting(changes: dict[str, Any], message: str, error_of: Callable[[], str]) -> None:
    write_jsonl(ROWS)
    assert run(changes) == 2
    assert message in error_of()
    assert not Path("out/replay.jsonl").exists()


def test_a_conversation_error_is_reported_if_no_row_is_left(error_of: Callable[[], str]) -> None:
    write_jsonl([{"messages": [{"role": "human", "content": "a"}]}] * 3)
    assert main(["import", "--source.path", "rows.jsonl", "--output_dir", "out"]) == 2
    assert "rows.jsonl, line 1: turn 1 has the unknown role 'human'" in error_of()


def test_what_a_killed_call_left_is_removed() -> None:
    write_jsonl(ROWS)
    Path("out").mkdir()
    Path("out/.replay.jsonl.123.tmp").write_text("half a l")
    assert run() == 0
    assert {path.name for path in Path("out").iterdir()} == {".lock", "config.yaml", "manifest.json", "replay.jsonl"}


def test_a_broken_line_leaves_nothing(error_of: Callable[[], str]) -> None:
    write_jsonl(ROWS[:1])
    with Path("rows.jsonl").open("a") as file:
        file.write("{broken\n")
    assert run() == 2
    assert "rows.jsonl, line 2: not JSON" in error_of()
    assert not Path("out/replay.jsonl").exists()
    write_jsonl(ROWS)
    assert run() == 0  # the folder holds no work that binds


@pytest.mark.slow
def test_killed_and_called_again(tmp_path: Path) -> None:
    write_jsonl([{**ROWS[0], "q": f"number {n}"} for n in range(30_000)])
    Path("import.yaml").write_text(yaml.safe_dump(SETTINGS))
    words = [sys.executable, "-m", "grsap", "import", "--config", "import.yaml", "--output_dir"]
    subprocess.run([*words, "whole"], check=True, capture_output=True)
    child = subprocess.Popen([*words, "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(Path().glob("killed/.replay.jsonl.*.tmp")):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not Path("killed/replay.jsonl").exists()
    subprocess.run([*words, "killed"], check=True, capture_output=True)
    assert Path("killed/replay.jsonl").read_bytes() == Path("whole/replay.jsonl").read_bytes()
    assert Path("killed/manifest.json").read_bytes() == Path("whole/manifest.json").read_bytes()


def test_of_several_processes_in_one_folder_one_wins() -> None:
    """Each has another limit: the folder has the rows of the first, and the others are refused."""
    write_jsonl([{**ROWS[0], "q": f"number {number}"} for number in range(300)])
    limits = (20, 40, 60, 80)
    children = {}
    for limit in limits:
        Path(f"import-{limit}.yaml").write_text(yaml.safe_dump({**SETTINGS, "limit": limit}))
        child = os.fork()
        if child == 0:
            try:
                os._exit(main(["import", "--config", f"import-{limit}.yaml", "--output_dir", "out"]))
            finally:
                os._exit(99)
        children[child] = limit
    codes = {children[child]: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    (winner,) = (limit for limit, code in codes.items() if code == 0)
    assert sorted(codes.values()) == [0, 2, 2, 2]
    assert (len(records()), manifest()["limit"]) == (winner, winner)
    assert manifest()["files"]["replay.jsonl"] == {"num_rows": winner, "hash": hash_file("out/replay.jsonl")}
    assert {path.name for path in Path("out").iterdir()} == {".lock", "config.yaml", "manifest.json", "replay.jsonl"}
