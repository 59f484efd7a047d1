"""docs/first_steps.md, run as it stands, in an empty folder; only the model is a smaller one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.page_blocks import BLOCK, ROOT, run_block


def test_the_page_runs(tmp_path: Path, tiny_base_path: Path) -> None:
    page = (ROOT / "docs" / "first_steps.md").read_text().replace("embedded:smollm2-135m-instruct", str(tiny_base_path))
    printed = []
    for language, name, text in BLOCK.findall(page):
        if name:
            (tmp_path / name).write_text(text)
        elif language == "bash":
            printed.append(run_block(text, tmp_path, sys.executable, OMP_NUM_THREADS="1"))
    assert "no weights were loaded" in printed[0]
    for run, num_steps in (("mine", 12), ("killed", 12), ("two", 12), ("capitals", 4)):
        summary = json.loads((tmp_path / "runs" / run / "summary.json").read_text())
        assert summary["num_steps"] == num_steps, run
        assert summary["replay_ratio_seen"] == 0.5
    assert (tmp_path / "my_task.py").read_text() == (ROOT / "examples" / "my_task.py").read_text()
