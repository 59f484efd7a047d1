"""Files of versions without the three outcomes are shown as what they hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.scripted import Pair, RowBenchmark, ScriptedGenerator, item, run, words
from tests.pages.html_check import Outline
from tests.reporting.conftest import Runs
from tests.reporting.test_report import table_rows
from transformers import PreTrainedTokenizerFast

from grsap.cli import main
from grsap.evaluation import Evaluation
from grsap.evaluation.output import write_results
from grsap.evaluation.table import print_results
from grsap.judging import RefusalMatcher
from grsap.runs.summary_table import load_and_print

OLDER = Path(__file__).parent / "older_run"
"""Summary and checks of the quickstart, as written before compliance was measured."""


def page_of(folders: list[str], path: Path) -> str:
    assert main(["report", *folders, "--output", str(path)]) == 0
    return path.read_text()


def test_the_summary_of_an_older_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_and_print(OLDER)
    printed = capsys.readouterr().out
    assert "non-refusal" in printed
    assert "compliance" not in printed
    text = page_of([str(OLDER)], tmp_path / "page.html")
    rows = {row[0]: row[1:] for row in table_rows(text, "rates")}
    assert rows["non-refusal (proxy)"] == [
        "older_run", "114", "26.3 %19.1–35.1", "28.9 %21.4–37.9", "+2.6−2.3 to +7.6", "held"
    ]  # fmt: skip
    assert rows["refusal of harmful prompts"][:2] == ["older_run", "114"]
    assert "compliance" not in Outline(text).text.partition("Where the numbers")[0]
    assert "course-harmfulness-rate" in text


def test_an_older_run_beside_one_of_today(runs: Runs, tmp_path: Path) -> None:
    text = page_of([str(OLDER), str(runs.replay)], tmp_path / "page.html")
    by_name: dict[str, list[str]] = {}
    for row in table_rows(text, "rates"):
        by_name.setdefault(row[0], []).append(row[1])
    assert by_name["non-refusal (proxy)"] == ["older_run"]
    assert by_name["compliance (proxy)"] == ["replay"]
    assert by_name["refusal of harmful prompts"] == ["older_run", "replay"]


def test_an_older_unfinished_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(OLDER, folder)
    (folder / "summary.json").write_text(json.dumps({"schema": "grsap.summary/1", "status": "interrupted"}))
    (folder / "transcripts").mkdir()
    row = {"id": "a", "response": "No.", "response_harmful": None, "response_refusal": True, "judge": "refusal_matcher"}
    (folder / "transcripts" / "step=000000.jsonl").write_text(json.dumps(row) + "\n")
    outline = Outline(page_of([str(folder)], tmp_path / "page.html"))
    assert "non-refusal (proxy) 26.3 % → 28.9 % at step 42" in outline.text


def test_an_older_evaluation(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [item(words(n), n % 2 == 0) for n in range(20)]
    generator = ScriptedGenerator(tiny_tokenizer, lambda prompt, seed: (f"This is how: {prompt}", "stop"))
    folder = tmp_path / "evaluation"
    results = run(Evaluation([Pair(generator, generator)], [RowBenchmark(items)], [RefusalMatcher()]), folder)
    added = ("compliance_rate", "no_answer_rate", "benign_answer_rate", "benign_no_answer_rate")
    older: dict[str, Any] = {
        **{key: value for key, value in results.items() if key != "checksum"},
        **{key: [row for row in results[key] if row["metric"] not in added] for key in ("rates", "comparisons")},
        "conclusions": [{key: row[key] for key in row if key != "answers"} for row in results["conclusions"]],
    }
    capsys.readouterr()
    print_results(older, folder)
    printed = capsys.readouterr().out
    assert "non-refusal" in printed
    assert "compliance (proxy)" not in printed
    write_results(folder, older)
    outline = Outline(page_of([str(folder)], tmp_path / "page.html"))
    assert "non-refusal (proxy)" in outline.texts
    assert "compliance (proxy)" not in outline.texts
