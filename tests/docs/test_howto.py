"""docs/howto: each page's files, commands and errors, run exactly as written in an empty folder with a tiny model.

A named block is a file. A bash block is a command that exits with 0, unless a text block follows: then with 2, and it
prints that text. A diff block changes a file for the commands up to the next diff.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.page_blocks import BLOCK, ROOT

from grsap.cli import main

PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))
MODEL = "embedded:smollm2-135m-instruct"
KINDS = ["objective", "balancer", "sampler", "schedule", "filter", "judge", "backend", "task", "benchmark", "callback"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget_modules()


def forget_modules() -> None:
    """A command is a process of its own for a reader: it reads the reader's modules anew."""
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def rows(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def metrics(run: str) -> list[dict[str, str]]:
    with Path(run, "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rejections(folder: str) -> list[tuple[object, object]]:
    return [(row["id"], row["rejection"]["reason"]) for row in rows(f"{folder}/rejected.jsonl")]  # type: ignore[index]


def has_margin_losses() -> bool:
    return len([row for row in metrics("runs/objective") if row["key"] == "train/loss/margin"]) == 2


DONE: dict[str, Callable[[], bool]] = {
    "objective": has_margin_losses,
    "balancer": lambda: Path("runs/balancer/adapter/adapter_model.safetensors").is_file(),
    "sampler": lambda: json.loads(Path("runs/sampler/summary.json").read_text())["replay_ratio_seen"] == 0.625,
    "schedule": lambda: Path("runs/schedule/metrics.csv").is_file(),
    "filter": lambda: rejections("curated") == [("a", "too_wordy")],
    "judge": lambda: rejections("curated") == [("b", "harmful_response")],
    "backend": lambda: Path("evaluation/evaluation.json").is_file(),
    "task": lambda: "task_score" in Path("runs/task/summary.json").read_text(),
    "benchmark": lambda: "palindromes" in Path("evaluation/evaluation.json").read_text(),
    "callback": lambda: [row["step"] for row in rows("step_times.jsonl")] == [1, 2],
}
"""What a page says that its command leaves."""


def test_there_is_a_page_for_each_kind_of_class() -> None:
    assert {page.stem for page in PAGES} - {"index"} == set(KINDS) == set(DONE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_works_as_written(
    kind: str, folder: Path, tiny_base_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "howto" / f"{kind}.md").read_text(encoding="utf-8").replace(MODEL, str(tiny_base_path))
    blocks = BLOCK.findall(page)
    written: dict[str, str] = {}
    wrong_uses = []
    for (language, name, text), following in zip(blocks, [*blocks[1:], ("", "", "")], strict=True):
        if language == "bash":
            forget_modules()
            program, *words = shlex.split(text)
            capfd.readouterr()
            code = main(words)
            printed = " ".join("".join(capfd.readouterr()).split())
            expected = " ".join(following[2].split()) if following[0] == "text" else ""
            assert program == "grsap"
            assert (code, expected in printed) == (2 if expected else 0, True), printed
            if expected:
                wrong_uses.append(expected)
            else:
                assert "--dry-run" in words or DONE[kind](), printed
        elif language == "diff":
            for file, before in written.items():
                (folder / file).write_text(before)
            old, new = ("".join(f"{line[2:]}\n" for line in text.splitlines() if line[0] == sign) for sign in "-+")
            assert old
            assert written[name].count(old) == 1
            (folder / name).write_text(written[name].replace(old, new))
        elif name:
            written[name] = text
            (folder / name).write_text(text)
    assert len(wrong_uses) >= 2
    assert any(f"my_{kind}.py" in each for each in wrong_uses)
