"""`curation.html`: the counts and thresholds of the manifest, and texts of neighbours, escaped, behind a click."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest
from tests.pages.browser import MISSING, Browser, is_installed
from tests.pages.hostile import HOSTILE
from tests.pages.html_check import Outline
from tests.reporting.folders import curation_folder, curation_manifest
from tests.reporting.test_report import sections_of, table_rows

from grsap.curation import Completeness, Curation
from grsap.curation.page import write_curation_page
from grsap.curation.running import run_curation
from grsap.errors import ConfigError
from grsap.records import write_jsonl


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = curation_folder(tmp_path / "curated", [HOSTILE[0], HOSTILE[3]])
    return write_curation_page(folder, curation_manifest())


def test_the_page_is_whole_and_private(written: Path) -> None:
    outline = Outline(written.read_text())
    assert outline.faults == []
    assert sections_of(outline) == ["funnel", "scores", "domains", "neighbours", "made"]
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert "4 of 10 rows kept for replay." in outline.text


def test_the_funnel_counts_rows_that_come_back(written: Path) -> None:
    text = written.read_text()
    described = Outline(text.partition('id="funnel-chart-desc"')[2].partition("</desc>")[0]).text
    assert described.lstrip(">") == (
        "raw rows: 10 left, 0 removed; Completeness: 8 left, 2 removed; "
        "SemanticDeduplication: 5 left, 3 removed; BenchmarkOverlap: 5 left, 0 removed; "
        "Harmlessness: 3 left, 2 removed; Revision: brings back 1: 4 left, 0 removed"
    )
    rows = table_rows(text, "funnel")
    assert rows[1] == ["SemanticDeduplicationmax_cosine 0.9", "near_duplicate 3", "8", "5", "62.5 %"]


def test_thresholds_and_bars_beyond_them(written: Path) -> None:
    text = written.read_text()
    assert "Completeness: keeps ≥ 8 and ≤ 64" in text
    assert "SemanticDeduplication: keeps ≤ 0.9" in text
    first = text.partition('aria-labelledby="scores-0-title')[2].partition("</svg>")[0]
    fills = re.findall(r"<path[^>]*style=\"fill: var\(--(bad|series-1)\)", first)
    assert fills == ["bad", "series-1", "bad"]
    shown = Outline(text).text
    assert "BenchmarkOverlap: share of n-grams that a benchmark has too is 0 of all 5 rows." in shown
    assert "Completeness uses separate thresholds for each domain" in shown
    assert "SemanticDeduplication keeps one" in shown


def test_domains_and_behaviours(written: Path) -> None:
    assert table_rows(written.read_text(), "domains") == [
        ["theft", "–", "3", "3"],
        ["fraud", "1", "–", "1"],
        ["all", "1", "3", "4"],
    ]


def test_texts_of_neighbours_are_behind_a_click(written: Path) -> None:
    outline = Outline(written.read_text())
    assert outline.tags.count("details") == 1
    assert [text for text in outline.texts if text in HOSTILE] == [HOSTILE[0], HOSTILE[3]] * 3
    assert "cosine 0.871, kept: theft-1" in outline.text
    assert "cosine 0.51, rejected: fraud-0" in outline.text
    assert "unnamed" not in outline.text


def test_a_page_that_the_user_wrote_is_kept(tmp_path: Path) -> None:
    folder = curation_folder(tmp_path / "curated", ["a", "b"])
    (folder / "curation.html").write_text("mine")
    with pytest.raises(ConfigError, match="is not a page of grsap"):
        write_curation_page(folder, curation_manifest())
    assert (folder / "curation.html").read_text() == "mine"


def test_a_curation_leaves_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    raw = tmp_path / "raw.jsonl"
    messages = [
        {"role": "user", "content": "How do I rob a bank now?"},
        {"role": "assistant", "content": "I cannot help."},
    ]
    rows = [
        {"schema": "grsap.safety/1", "id": f"r{n}", "messages": messages, "domain": "theft", "finish_reason": reason}
        for n, reason in enumerate(["stop", "length", "stop"])
    ]
    write_jsonl(raw, rows)
    run_curation(Curation(str(raw), [Completeness()]), tmp_path / "curated")
    page = tmp_path / "curated" / "curation.html"
    assert f"page: {page}" in " ".join(capsys.readouterr().out.split())
    assert table_rows(page.read_text(), "domains") == [["theft", "2", "2"], ["all", "2", "2"]]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_curation(Curation(str(raw), [Completeness()]), tmp_path / "without")
    assert "no curation.html: matplotlib is not installed." in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "without" / "replay.jsonl").is_file()


@pytest.mark.skipif(not is_installed(), reason=MISSING)
def test_in_chromium(written: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        for width in (1200, 400):
            browser.open(written, width)
            browser.run("document.querySelectorAll('details').forEach(each => { each.open = true })")
            assert browser.run("return document.documentElement.scrollWidth") == width
        assert browser.requested() == [written.as_uri()] * 2
        assert browser.messages() == []
        assert browser.run("return document.querySelectorAll('pre script, pre img').length") == 0
