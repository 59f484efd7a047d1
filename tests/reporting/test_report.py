"""A page of two real runs: what stands on it, what does not, and in which words bad folders are refused."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pages.browser import MISSING, Browser, is_installed
from tests.pages.hostile import HOSTILE
from tests.pages.html_check import Outline
from tests.reporting.conftest import NUM_TWINS, Runs, read

from grsap.cli import main
from grsap.pages.numbers import percent, percent_interval, points, points_interval
from grsap.reporting.transcripts import NUM_PER_SUBSET

SECTIONS = [
    "overview",
    "rates",
    "training",
    "trade-off",
    "loss",
    "mixture",
    "answers",
    "cost",
    "settings",
    "transcripts",
    "provenance",
]


@pytest.fixture(scope="session")
def page(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "page.html"
    assert main(["report", *runs.both, "--output", str(path)]) == 0
    return path


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `grsap report`, which must fail by the user's fault, and gives what it says."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        assert main(["report", *map(str, words)]) == 2
        return " ".join(capsys.readouterr().err.split())

    return run


def sections_of(outline: Outline) -> list[str | None]:
    return [value for tag, name, value in outline.attributes if tag == "section" and name == "id"]


def test_all_sections_stand_on_a_balanced_page(page: Path) -> None:
    outline = Outline(page.read_text())
    assert outline.faults == []
    assert sections_of(outline) == SECTIONS
    assert "Of runs replay, plain." in outline.text


def test_rates_are_those_of_the_summaries(page: Path, runs: Runs) -> None:
    rows = table_rows(page.read_text(), "rates")
    names = {
        "task_score": "task score",
        "compliance_rate": "compliance (proxy)",
        "refusal_rate": "refusal of harmful prompts",
        "no_answer_rate": "no answer to harmful prompts",
        "over_refusal_rate": "over-refusal of benign prompts",
    }
    assert [row[0] for row in rows[::2]][:5] == [*names.values()]
    for number, name in enumerate(names):
        for place, folder in enumerate((runs.replay, runs.plain)):
            summary = read(folder / "summary.json")
            row = rows[2 * number + place]
            assert row[1:3] == [folder.name, str(summary["after"][name]["num_prompts"])]
            for cell, moment in ((row[3], "before"), (row[4], "after")):
                rate = summary[moment][name]
                unparsed = f"{rate['num_unparsed']} unparsed" if rate["num_unparsed"] else ""
                assert cell == percent(rate["value"]) + percent_interval(rate["low"], rate["high"]) + unparsed
            change = summary["changes"][name]
            assert row[6] == change.get("verdict", "") + (change.get("verdict_reason") or "").replace("_", " ")
    text = Outline(page.read_text()).text
    change = read(runs.replay / "summary.json")["changes"]["task_score"]
    shown = f"{points(change['difference'])} points, 95 % interval {points_interval(change['low'], change['high'])}"
    assert f"({shown}, n={change['num_pairs']}; {change['verdict']})" in text
    assert "below the margin of 7 points with 95 % confidence" in text
    assert "Proxy judge: refusal_matcher sees refusals only" in text


def table_rows(text: str, section: str) -> list[list[str]]:
    """Cells of the first table of a section as plain text; a name that spans rows stands in the first of them."""
    return all_rows(text.partition(f'<section id="{section}"')[2].partition("</tbody>")[0].partition("<tbody>")[2])


def all_rows(part: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.DOTALL):
        cells = [
            "".join(Outline(cell).texts).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        rows.append(cells if "<th" in row else [rows[-1][0] if rows else "", *cells])
    return rows


def test_figures_of_the_course_have_a_mark_a_check(page: Path, runs: Runs) -> None:
    text = page.read_text()
    steps = read(runs.replay / "summary.json")["num_steps"]
    course = text.partition('aria-labelledby="course-compliance-rate-title')[2].partition("</svg>")[0]
    for series in ("series-1", "series-2"):
        assert len(re.findall(rf"<use[^>]*fill: var\(--{series}\); stroke", course)) == steps + 1


def test_settings_that_differ_and_no_others(page: Path) -> None:
    rows = table_rows(page.read_text(), "settings")
    assert rows == [["data.sampler.init_args.replay_ratio", "0.25", "0.0"]]


def test_mixture_as_planned_and_seen(page: Path, runs: Runs) -> None:
    rows = table_rows(page.read_text(), "mixture")
    planned = read(runs.replay / "manifest.json")["data"]
    assert (
        rows[1][0:4]
        == ["replay", "replay", "6", str(planned["replay_rows_per_epoch"])]
        == ["replay", "replay", "6", "3"]
    )
    assert rows[1][4] == "3"  # all planned steps were done
    assert rows[3][3:5] == ["0", "0"]


def test_texts_are_a_bounded_sample_and_the_page_is_private(page: Path) -> None:
    outline = Outline(page.read_text())
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    entries = [text for text in outline.texts if re.fullmatch(r"(harmful|twin)-\d+", text)]
    assert len(entries) == 2 * (NUM_PER_SUBSET + min(NUM_PER_SUBSET, NUM_TWINS))
    assert sum(text in HOSTILE for text in outline.texts) == 2 * NUM_PER_SUBSET
    assert "script" not in outline.tags


def test_without_transcripts_there_is_no_text(runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert main(["report", *runs.both, "--output", str(path), "--no_transcripts"]) == 0
    outline = Outline(path.read_text())
    assert sections_of(outline) == [name for name in SECTIONS if name != "transcripts"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    answers = [json.loads(line)["response"] for file in runs.replay.glob("transcripts/*") for line in file.open()]
    assert [text for text in [*HOSTILE, *filter(str.strip, answers)] if text in outline.texts] == []


def test_prompts_of_a_file_that_changed_are_not_shown(runs: Runs, tmp_path: Path, tmp_path_factory) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(runs.replay, folder)
    manifest = read(folder / "manifest.json")
    manifest["files"] = dict.fromkeys(manifest["files"], "0" * 16)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = tmp_path / "page.html"
    assert main(["report", str(folder), "--output", str(path)]) == 0
    outline = Outline(path.read_text())
    assert outline.text.count("(its text is not in the run's folder)") == 2 * NUM_PER_SUBSET
    assert not set(HOSTILE) & set(outline.texts)


def test_an_unfinished_run_is_shown_as_far_as_it_came(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    shutil.copytree(runs.replay, folder)
    (folder / "summary.json").unlink()
    with (folder / "metrics.csv").open("a") as file:
        file.write("3,train/lo")
    path = tmp_path / "page.html"
    assert main(["report", str(folder), "--output", str(path)]) == 0
    outline = Outline(path.read_text())
    assert sections_of(outline) == ["overview", "training", "loss", "mixture", "settings", "transcripts", "provenance"]
    assert "unfinished: not finished; task score " in outline.text
    assert "compliance (proxy) " in outline.text  # what is a proxy is told without a summary too
    assert "Proxy judge: refusal_matcher sees refusals only." in outline.text
    assert "harmfulness" not in outline.text.partition("Loss by objective")[0]


def test_folders_of_one_name_are_told_apart(runs: Runs, tmp_path: Path) -> None:
    for parent in ("a", "b"):
        shutil.copytree(runs.replay, tmp_path / parent / "run")
    path = tmp_path / "page.html"
    words = [str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run"), str(tmp_path / "a" / "run") + "/"]
    assert main(["report", *words, "--output", str(path)]) == 0
    assert "Of runs a/run, b/run." in Outline(path.read_text()).text


def test_bad_folders(error_of: Callable[..., str], runs: Runs, tmp_path: Path) -> None:
    assert f"{tmp_path}/none does not exist" in error_of(tmp_path / "none")
    assert "is a file, not a folder" in error_of(runs.replay / "summary.json")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds nothing that a report can show. Give a folder that grsap fit," in error_of(empty)
    children = f"Give the folders in it: {runs.plain}, {runs.replay}."
    assert children in error_of(runs.replay.parent)
    assert "the following arguments are required: DIR" in error_of()
    (empty / "manifest.json").write_text('{"schema": "grsap.manifest/9"}')
    assert "is of version grsap.manifest/9, and this grsap reads grsap.manifest/1" in error_of(empty)
    (empty / "manifest.json").write_text("{")
    assert "manifest.json: cannot be read" in error_of(empty)
    (empty / "manifest.json").write_text("[1]")
    assert "holds no JSON object" in error_of(empty)
    (empty / "manifest.json").write_text('{"schema": "grsap.evaluation_manifest/1"}')
    assert "holds no evaluation.json: the work is not finished. Finish it with grsap evaluate" in error_of(empty)


@pytest.mark.parametrize(
    "damage",
    [
        {"before": {"task_score": {"value": 0.5}}},
        {"before": {"task_score": {"value": "x", "low": 0, "high": 1, "num_prompts": 3}}},
        {"after": [1]},
        {"changes": {"task_score": {}}},
        {"seconds": None},
    ],
)
def test_a_damaged_summary(error_of: Callable[..., str], runs: Runs, tmp_path: Path, damage: dict[str, object]) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(runs.plain, folder)
    (folder / "summary.json").write_text(json.dumps(read(folder / "summary.json") | damage))
    told = error_of(runs.replay, folder, "--output", tmp_path / "page.html")
    assert f"{folder}: manifest.json or summary.json is not as grsap writes it" in told
    assert "Create it again with grsap fit, or leave the folder out" in told
    assert not (tmp_path / "page.html").exists()


def test_a_file_that_is_no_page_is_not_replaced(error_of: Callable[..., str], runs: Runs, tmp_path: Path) -> None:
    mine = tmp_path / "thesis.html"
    mine.write_text("mine")
    assert "thesis.html exists and is not a page of grsap" in error_of(runs.replay, "--output", mine)
    assert mine.read_text() == "mine"


@pytest.mark.skipif(not is_installed(), reason=MISSING)
def test_in_chromium(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        for width in (1200, 400):
            browser.open(page, width)
            browser.run("document.querySelectorAll('details').forEach(each => { each.open = true })")
            assert browser.run("return document.documentElement.scrollWidth") == width
            overlapping = (
                "return [...document.querySelectorAll('svg.chart')].filter(each => each.clientWidth < 250).length"
            )
            assert browser.run(overlapping) == 0
        assert browser.requested() == [page.as_uri()] * 2
        assert browser.messages() == []
        assert browser.run("return document.title") == "grsap report"
