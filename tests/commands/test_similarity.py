"""`grsap similarity` as a command: help, errors before any work, what may change in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.similarity.conftest import Write, make_records, write  # noqa: F401

from grsap.cli import main
from grsap.embedding import MiniLMEmbedder


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture
def config(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    settings = {
        "output_dir": "out",
        "curated": write("curated.jsonl", make_records(24, 1)),
        "reference": write("reference.jsonl", make_records(48, 2)),
        "num_seeds": 1,
    }
    Path("run.yaml").write_text(yaml.safe_dump(settings))
    return "run.yaml"


def test_help_lists_settings_with_what_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for line in ("--reference", "the data that the model was aligned on", "--max_rows", "the paper uses 10,000"):
        assert line in text


def test_a_comparison_with_the_packaged_embedder(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["similarity", "--config", config]) == 0
    assert "classifier_accuracy" in capsys.readouterr().out
    assert main(["similarity", "--config", config]) == 0
    assert "Continuing the work in out." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--curated", "no.jsonl"], "no.jsonl: curated: no such file. Check the path"),
        (["--curated", "null"], "neither raw nor curated is set."),
        (["--max_rows", "3"], "max_rows is 3. Give at least 20."),
        (["--refrence", "x"], "--refrence is not an option of grsap similarity."),
        (["--embedder", "NoEmbedder"], "NoEmbedder"),
    ],
)
def test_errors_come_before_work_and_leave_no_folder(
    words: list[str], message: str, config: str, error_of: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiniLMEmbedder, "_load", lambda self: pytest.fail("weights were loaded"))
    assert main(["similarity", "--config", config, *words]) == 2
    assert message in error_of()
    assert not Path("out").exists()
