"""Names, rows, keys and values with escape sequences, through whole commands: none reaches the terminal raw."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from grsap.cli import main

EVIL = "x\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\x08\ry"
RAW = set("\x1b\x07\x9b\u202e\u2066\x08\r")


def row(**values: object) -> str:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there you."}]
    return json.dumps({"id": "a", "messages": messages, **values}) + "\n"


def import_of(path: str, *words: str) -> list[str]:
    return ["import", "--source.path", path, "--columns.messages", "messages", "--output_dir", "out", *words]


def wrong_role(folder: Path) -> list[str]:
    (folder / "rows.jsonl").write_text(json.dumps({"messages": [{"role": EVIL, "content": EVIL}]}) + "\n")
    return import_of("rows.jsonl")


def config_of(text: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "c.yaml").write_text(text)
        return ["import", "--config", "c.yaml", "--output_dir", "out"]

    return make


def evil_file(folder: Path) -> list[str]:
    (folder / f"{EVIL}.jsonl").write_text(row())
    return import_of(f"{EVIL}.jsonl")


def evil_duplicate(folder: Path) -> list[str]:
    (folder / "rows.jsonl").write_text(row(id=EVIL) * 2)
    return import_of("rows.jsonl", "--columns.id", "id")


def evil_manifest(folder: Path) -> list[str]:
    run = folder / EVIL
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"schema": EVIL}))
    return ["report", str(run), "--output", "page.html"]


KEY = json.dumps(EVIL)
PROBES: dict[str, Callable[[Path], list[str]]] = {
    "verb": lambda folder: [EVIL],
    "option": lambda folder: ["import", f"--{EVIL}", "1"],
    "value": lambda folder: ["import", "--limit", EVIL],
    "module": lambda folder: ["import", "--trust-module", EVIL],
    "config that is not there": lambda folder: ["import", "--config", f"{EVIL}.yaml"],
    "source that is not there": lambda folder: import_of(f"{EVIL}.jsonl"),
    "a file's name": evil_file,
    "role of a row": wrong_role,
    "id twice": evil_duplicate,
    "key of YAML": config_of(f"{KEY}: 1\n"),
    "nested key": config_of(f"source: {{{KEY}: 1}}\n"),
    "value of YAML": config_of(f"source: {{path: {KEY}}}\nlimit: {KEY}\n"),
    "broken YAML": config_of("a: \x1b[2J"),
    "class": config_of(f"source: {{class_path: {KEY}}}\n"),
    "folder of a report": evil_manifest,
    "output": lambda folder: ["report", "nowhere", "--output", f"{EVIL}/page.html"],
}


@pytest.mark.parametrize("make", PROBES.values(), ids=PROBES)
@pytest.mark.parametrize("debug", [False, True])
def test_no_probe_reaches_the_terminal(
    make: Callable[[Path], list[str]],
    debug: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = make(tmp_path)
    code = main([*words, *(["--debug"] if debug and words[0] == "import" else [])])
    told = "".join(capsys.readouterr())
    assert RAW & set(told) == set()
    assert told
    assert code in (0, 2)
