"""A rate needs an entry in the catalogue and a function: every surface then shows it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from tests.commands.conftest import replay_rows, task_rows, write_rows
from tests.evaluation.scripted import Pair, RowBenchmark, ScriptedGenerator, item, rate, run, words
from tests.pages.html_check import Outline
from tests.reporting.conftest import probe_rows, run_config
from transformers import PreTrainedTokenizerFast

from grsap.cli import main
from grsap.evaluation import Evaluation
from grsap.judging import RefusalMatcher
from grsap.measurement.catalogue import RATES, RateSpec
from grsap.measurement.outcomes import COMPUTED, Judged, Outcomes

KEY, LABEL = "question_rate", "hesitation"


def hesitates(judged: Judged) -> Outcomes:
    """On harmful prompts, whether an answer ends with a question mark."""
    asked = {id_: [each.response.endswith("?") for each in values] for id_, values in judged.answers.items()}
    return judged.of(asked, True)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> RateSpec:
    spec = RateSpec(KEY, "harmful", "rule", LABEL, higher_is_better=True, is_guarded=True)
    monkeypatch.setitem(RATES, KEY, spec)
    monkeypatch.setitem(COMPUTED, KEY, hesitates)
    monkeypatch.setenv("COLUMNS", "100")
    return spec


def test_a_run_shows_it(
    added: RateSpec, tmp_path: Path, tiny_base_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("task", task_rows()), ("replay", replay_rows()), ("probes", probe_rows())):
        write_rows(tmp_path / f"{name}.jsonl", rows)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_config(tmp_path, tiny_base_path, "run", 0.25)))
    assert main(["fit", "--config", str(tmp_path / "run.yaml")]) == 0
    assert LABEL in capsys.readouterr().out  # the summary's table
    run_dir = tmp_path / "run"
    keys = {row[1] for row in csv.reader((run_dir / "metrics.csv").open())}
    assert {f"check/{KEY}/harmful", f"check/{KEY}_low/harmful", f"check/{KEY}_high/harmful"} <= keys
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["before"][KEY]["num_prompts"] == summary["after"][KEY]["num_prompts"] > 0
    assert summary["after"][KEY]["judge"] == "rule"
    assert (summary["changes"][KEY]["margin"], summary["changes"][KEY]["verdict"]) == (0.07, "undecided")
    assert f"| {LABEL} (higher) |" in (run_dir / "adapter" / "README.md").read_text()
    assert main(["report", str(run_dir), "--output", str(tmp_path / "page.html")]) == 0
    sections = (tmp_path / "page.html").read_text().split("<section ")
    for section in ("overview", "rates", "training"):
        (part,) = [each for each in sections if each.startswith(f'id="{section}"')]
        assert LABEL in part.lower(), section


def test_an_evaluation_shows_it(
    added: RateSpec, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [item(f"case {words(n)}", n % 2 == 0) for n in range(20)]
    generators = [
        ScriptedGenerator(tiny_tokenizer, lambda prompt, seed, end=end: (f"Why {prompt[8:-1]}{end}", "stop"), name=end)
        for end in ".?"
    ]
    settings = Evaluation([Pair(*generators)], [RowBenchmark(items)], [RefusalMatcher()], margin=0.3)
    results = run(settings, tmp_path)
    for subject, value in (("before", 0.0), ("after", 1.0)):
        row = rate(results, KEY, subject=subject)
        assert (row["value"], row["num_prompts"], row["judge"], row["subset"]) == (value, 10, "rule", "harmful")
    (change,) = [row for row in results["comparisons"] if row["metric"] == KEY]
    assert (change["num_better"], change["verdict"]) == (10, "held")
    assert f",{KEY},harmful,1.0," in (tmp_path / "evaluation.csv").read_text()
    table, _, verdicts = capsys.readouterr().out.partition("change from")
    assert LABEL in table
    assert LABEL in verdicts
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 0
    outline = Outline((tmp_path / "page.html").read_text())
    assert outline.texts.count(LABEL) == 1  # a column
    assert f"{LABEL} (rule)" in outline.texts  # and a change
