"""Pages of evaluations, similarities, syntheses and curations."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml
from tests.pages.hostile import HOSTILE
from tests.pages.html_check import Outline
from tests.reporting.conftest import Runs, read
from tests.reporting.folders import curation_folder, curation_manifest, similarity_folder, synthesis_folder
from tests.reporting.test_report import all_rows, sections_of, table_rows

from grsap.cli import main
from grsap.pages.numbers import percent, percent_interval


def report(tmp_path: Path, *folders: Path) -> str:
    path = tmp_path / "page.html"
    assert main(["report", *map(str, folders), "--output", str(path)]) == 0
    text = path.read_text()
    assert Outline(text).faults == []
    return text


@pytest.fixture(scope="module")
def evaluated(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real evaluation of the two runs on the probes that they were checked with, and on their task."""
    folder = tmp_path_factory.mktemp("evaluation")
    spec = {
        "name": "own_probes",
        "kind": "safety",
        "source": {"path": str(runs.replay.parent / "probes.jsonl")},
        "columns": {"id": "id", "messages": "messages", "subset": "subset", "domain": "domain", "pair_id": "pair_id"},
        "prompt_harmful": {"column": "subset", "harmful": ["harmful"], "harmless": ["twin"]},
    }
    (folder / "probes.yaml").write_text(yaml.safe_dump(spec))
    config = {
        "output_dir": str(folder / "evaluated"),
        "subjects": [{"class_path": "RunSubjects", "init_args": {"run_dir": path}} for path in runs.both],
        "benchmarks": [
            str(folder / "probes.yaml"),
            {
                "class_path": "TaskBenchmark",
                "init_args": {
                    "task": {
                        "class_path": "ExtractionTask",
                        "init_args": {"num_train": 0, "num_validation": 0, "num_test": 6},
                    }
                },
            },
        ],
        "sampling": {"max_new_tokens": 4},
        "margin": 0.3,
    }
    (folder / "evaluate.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", "--config", str(folder / "evaluate.yaml")]) == 0
    return folder / "evaluated"


def test_an_evaluation(evaluated: Path, tmp_path: Path) -> None:
    text = report(tmp_path, evaluated)
    outline = Outline(text)
    assert sections_of(outline) == ["evaluation-1", "cost", "provenance"]
    result = read(evaluated / "evaluation.json")
    (row,) = [
        row
        for row in result["rates"]
        if (row["subject"], row["benchmark"], row["metric"]) == ("replay", "own_probes", "over_refusal_rate")
        and row["subset"] == "benign"
    ]
    cells = {line[0]: line for line in table_rows(text, "evaluation-1")}
    assert percent(row["value"]) + percent_interval(row["low"], row["high"]) in cells["replay"]
    assert set(cells) == {subject["name"] for subject in result["subjects"] if subject["role"] != "checkpoint"}
    assert "Margin: 30 points." in outline.text
    assert "Proxy judge: refusal_matcher sees refusals only" in outline.text
    assert "own_probes: 20 prompts (15 harmful, 5 benign)" in outline.text
    change = next(
        row for row in result["comparisons"] if (row["subject"], row["metric"]) == ("replay", "over_refusal_rate")
    )
    assert f"{change['num_worse']} / {change['num_better']} of {change['num_pairs']}" in outline.texts
    assert "rate is at most 2 times the baseline's, plus two points" in outline.text
    assert len(result["overlap"]) > 0
    for each in result["overlap"]:
        shared = f"{each['num_rows_found']} of {each['num_rows']}"
        assert [Path(each["replay"]).name, each["benchmark"], shared] in overlaps(text)
    # The training dynamic: a start, the checkpoints and the end of each run.
    steps = [subject["step"] for subject in result["subjects"] if subject["run"] == "plain"]
    course = text.partition('aria-labelledby="evaluation-1-course-0-title')[2].partition("</svg>")[0]
    assert course.count("fill: var(--series-2); stroke") == len({*steps, 0}) >= 3
    assert not set(HOSTILE) & set(outline.texts)
    assert "script" not in outline.tags


def overlaps(text: str) -> list[list[str]]:
    """Replay set, benchmark and rows shared of the table of overlaps."""
    rows = all_rows(text.partition("prompts shared")[2].partition("</table>")[0].partition("<tbody>")[2])
    return [[row[0], row[1], row[3]] for row in rows]


def test_a_damaged_evaluation(evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read(evaluated / "evaluation.json")
    del content["rates"][0]["judge"]
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 2
    assert "evaluation.json: was changed since it was written." in " ".join(capsys.readouterr().err.split())
    del content["checksum"]
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path}: evaluation.json is not as grsap writes it (KeyError: 'judge')" in told


def test_a_similarity(tmp_path: Path) -> None:
    text = report(tmp_path, similarity_folder(tmp_path / "similar"))
    assert table_rows(text, "similarity-1") == [[name, "40", "39", "38", "6.25"] for name in ("raw", "reference")]
    outline = Outline(text)
    assert "MAUVE, scaling 5 (1: the same)" in outline.text
    assert "0.8120.7 to 0.9" in outline.text.replace("\n", "")
    assert "Whether the reference is whole." in outline.text
    assert sections_of(outline) == ["similarity-1", "cost", "provenance"]


def test_syntheses(tmp_path: Path) -> None:
    text = report(tmp_path, synthesis_folder(tmp_path / "a" / "raw"), synthesis_folder(tmp_path / "b" / "raw"))
    assert sections_of(Outline(text)) == ["synthesis-1", "synthesis-2", "cost", "provenance"]
    assert table_rows(text, "synthesis-2")[0] == ["property", "20", "15", "75.0 %", "15", "2"]
    assert "Unusable: too_short 4, refusal 1." in Outline(text).text
    rows = table_rows(text, "cost")
    assert rows[:3] == [
        ["a/raw", "synthesis: queries", "300", "", "", "", ""],
        ["a/raw", "synthesis: responses", "700", "", "", "", ""],
        ["a/raw", "synthesis", "1\u202f000", "50 s", "20", "", ""],
    ]


def test_a_curation_shows_no_texts_on_a_report(tmp_path: Path) -> None:
    text = report(tmp_path, curation_folder(tmp_path / "curated", [HOSTILE[0], HOSTILE[1]]))
    outline = Outline(text)
    parts = ["curation-1-funnel", "curation-1-scores", "curation-1-domains"]
    assert sections_of(outline) == [*parts, "provenance"]
    assert not set(HOSTILE) & set(outline.texts)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o644


def test_a_damaged_curation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = curation_folder(tmp_path / "curated", ["a", "b"])
    (folder / "manifest.json").write_text(json.dumps(curation_manifest() | {"steps": [{}]}))
    assert main(["report", str(folder), "--output", str(tmp_path / "page.html")]) == 2
    assert "is not as grsap writes it (KeyError: 'takes_rejected')" in " ".join(capsys.readouterr().err.split())
