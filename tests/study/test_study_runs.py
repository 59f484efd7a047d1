"""A small study by the command line: real stages run once, and again if their results are missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.cli import main
from grsap.embedded import resolve

STUDY: dict[str, Any] = {
    "output_dir": "runs/s",
    "axes": {"num": ["6", "400"]},
    "stages": [
        {
            "name": "import/{num}",
            "verb": "import",
            "settings": {"source": {"path": "rows.jsonl"}, "columns": {"messages": "messages"}, "limit": "{num}"},
        },
        {
            "name": "curate",
            "verb": "curate",
            "settings": {
                "input": "{folder}/import/6/replay.jsonl",
                "filters": [{"class_path": "Completeness", "init_args": {"min_response_words": 18}}],
            },
            "needs": ["import/6"],
        },
    ],
    "goals": ["curate"],
    "figures": [
        {
            "name": "short answers",
            "stages": "curate",
            "where": {"step": "Completeness", "reason": "too_short"},
            "published": 0.5,
            "source": "nowhere",
        }
    ],
    "report": ["curate"],
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    lines = resolve("embedded:quickstart/replay.jsonl").read_text().splitlines(keepends=True)[:12]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    return tmp_path / "runs" / "s"


def call(config: dict[str, Any], *words: str) -> int:
    Path("study.yaml").write_text(yaml.safe_dump(config))
    return main(["study", "--config", "study.yaml", *words])


@pytest.mark.slow
def test_finished_stages_do_not_run_again(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(STUDY, "--dry-run") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:4]] == [
        ["import/6", "import"],
        ["curate", "curate"],
    ]
    assert not study.exists()

    assert call(STUDY) == 0
    assert "2 stages are done: 2 now, 0 before." in capsys.readouterr().err
    manifest = json.loads((study / "curate" / "manifest.json").read_text())
    num_short = manifest["steps"][0]["reasons"]["too_short"]
    (figure,) = json.loads((study / "study.json").read_text())["figures"]
    assert (manifest["counts"]["num_raw"], figure["value"], figure["num_rows"]) == (6, num_short / 6, 1)
    assert figure["low"] < figure["value"] < figure["high"]
    assert (study / "report.html").is_file()
    assert not (study / "import" / "400").exists()

    assert call(STUDY) == 0
    assert "2 stages are done: 0 now, 2 before." in capsys.readouterr().err
    shutil.rmtree(study / "import" / "6")
    assert call(STUDY) == 0  # the same rows come again, so that stages that need them are still done
    assert "2 stages are done: 1 now, 1 before." in capsys.readouterr().err


def test_a_stage_that_fails_stops_the_study(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = {**STUDY, "goals": ["import/400", "curate"], "axes": {"num": ["6", "-1"]}}
    config["goals"] = ["import/{num}", "curate"]
    assert call(config) == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert "limit is -1" in shown  # what the stage itself says
    assert "error: stage import/-1 ended with exit code 2." in shown
    assert json.loads((study / "import" / "6" / ".study.json").read_text())["schema"] == "grsap.study_stage/1"
    assert not (study / "curate").exists()


def test_dry_run_is_of_fit_and_study_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curate", "--dry-run"]) == 2
    assert "--dry-run is a flag of grsap fit and study, not of grsap curate." in " ".join(
        capsys.readouterr().err.split()
    )
