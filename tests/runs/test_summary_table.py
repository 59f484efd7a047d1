from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grsap.console import Console
from grsap.errors import RunFolderError
from grsap.runs.summary_table import (
    change_cell,
    load_and_print,
    notes,
    print_summary,
    rate_cell,
    verdict_cell,
)

ROOT = Path(__file__).parents[2]


def rate(value: float | None, low: float, high: float, num: int, unparsed: int = 0) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "num_prompts": num, "num_unparsed": unparsed, "judge": "refusals"}


SUMMARY: dict[str, Any] = {
    "status": "finished",
    "before": {"task_score": rate(0.0, 0.0, 0.037, 100), "harmfulness_rate": rate(0.05, 0.017, 0.137, 60)},
    "after": {"task_score": rate(0.98, 0.93, 0.994, 100), "harmfulness_rate": rate(0.1, 0.047, 0.202, 60, 2)},
    "changes": {
        "task_score": {"difference": 0.98, "low": 0.93, "high": 1.0, "num_pairs": 100, "verdict": "gained"},
        "harmfulness_rate": {
            "difference": 0.05, "low": -0.021, "high": 0.121, "num_pairs": 60, "verdict": "undecided", "margin": 0.1
        },
    },
    "majority_baseline": 0.01,
    "harmfulness_is_proxy": True,
    "unigram": {"pair_accuracy": 0.184},
    "stop_reason": None,
    "num_steps": 120,
    "num_tokens": 98765,
    "tokens_per_second": 412.6,
    "peak_memory_bytes": 3 * 2**30,
    "seconds": 301.4,
    "replay_ratio_seen": 0.1,
    "paths": {"adapter": "runs/q/adapter", "best_checkpoint": None},
    "next_command": "grsap evaluate runs/q",
}  # fmt: skip


def printed(summary: dict[str, Any], width: int = 80) -> str:
    text = io.StringIO()
    print_summary(summary, Console(file=text, width=width))
    return text.getvalue()


def test_cells() -> None:
    assert rate_cell(rate(0.125, 0.043, 0.31, 16)) == "12.5 % (n=16)\n4.3-31.0"
    assert rate_cell(rate(0.125, 0.043, 0.31, 16, 2)) == "12.5 % (n=16)\n4.3-31.0\n2 unparsed"
    assert rate_cell(rate(None, 0.0, 1.0, 3, 3)) == "- (n=3)\n0.0-100.0\n3 unparsed"
    assert rate_cell(None) == "-"
    assert change_cell(SUMMARY["changes"]["harmfulness_rate"]) == "+5.0 (n=60)\n-2.1..+12.1"
    assert (change_cell(None), change_cell({"difference": None, "num_pairs": 1})) == ("-", "-")
    assert verdict_cell(SUMMARY["changes"]["harmfulness_rate"]) == "undecided\nmargin 10"
    assert verdict_cell(SUMMARY["changes"]["task_score"]) == "gained"
    assert (verdict_cell(None), verdict_cell({"difference": 0.1})) == ("", "")


def test_notes() -> None:
    assert notes(SUMMARY) == [
        "judge: refusals; it sees refusals only, so each answer that does not refuse counts, harmful or not",
        "always giving the most frequent answer would score 1.0 %",
        "120 steps, 98,765 tokens, 413 tokens/s, peak memory 3.00 GiB, 301 s, replay 10.0 % of rows",
        "adapter: runs/q/adapter",
        "next: grsap evaluate runs/q",
    ]
    assert notes(SUMMARY | {"stop_reason": "too harmful"})[0] == "stopped early: too harmful"


def test_table_fits_eighty_columns() -> None:
    text = printed(SUMMARY)
    table = [line for line in text.splitlines() if "│" in line]
    assert max(map(len, table)) <= 80
    for cell in ("0.0 % (n=100)", "93.0-99.4", "+98.0 (n=100)", "+5.0 (n=60)", "-2.1..+12.1", "undecided", "margin 10"):
        assert cell in text, cell
    assert "non-refusal" in text
    assert "harmfulness" not in text
    assert "18.4 %" in text
    assert "harmfulness" in printed(SUMMARY | {"harmfulness_is_proxy": False})
    assert "over-refusal" not in text


def test_a_verdict_with_a_reason_fits_eighty_columns_too() -> None:
    rates = {"compliance_rate": rate(0.263, 0.191, 0.351, 114), "no_answer_rate": rate(0.886, 0.815, 0.932, 114)}
    change = {"difference": -0.228, "low": -0.325, "high": -0.142, "num_pairs": 114, "margin": 0.1}
    verdict = {"verdict": "undecided", "verdict_reason": "no_answer"}
    text = printed(SUMMARY | {"before": rates, "after": rates, "changes": {"compliance_rate": change | verdict}})
    table = [line for line in text.splitlines() if "│" in line]
    assert {len(line) for line in table} == {80}
    for cell in ("compliance", "undecided │", "no answer │", "margin 10 │", "-32.5..-14.2"):
        assert cell in text, cell


def test_a_run_without_checks_has_no_table() -> None:
    text = printed({"num_steps": 3, "num_tokens": 12, "seconds": 1.0, "before": {"task_score": None}, "after": {}})
    assert text == "3 steps, 12 tokens, 1 s\n"


def test_control_characters_are_not_printed() -> None:
    text = printed(SUMMARY | {"next_command": "x\x1b]0;title\x07[bold]y"})
    assert "next: x�]0;title�[bold]y\n" in text
    assert "\x1b" not in text


def test_a_finished_run_is_printed_from_its_summary_alone_without_torch(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    code = (
        "import sys; from grsap.runs.summary_table import load_and_print; load_and_print(sys.argv[1]);"
        "print([name for name in ('torch', 'lightning', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == printed(SUMMARY) + "[]\n"


@pytest.mark.parametrize("content", [None, "{"])
def test_a_summary_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"summary\.json cannot be read\. Finish the run first"):
        load_and_print(tmp_path)
