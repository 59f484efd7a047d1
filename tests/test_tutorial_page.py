"""docs/tutorial.md: its configs are read as they stand. tests/servers/test_tutorial.py runs the page with vLLM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from grsap.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
CONFIGS = re.findall(r"^```yaml (synthesize|curate|fit|evaluate)\.yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("verb", "text"), CONFIGS, ids=lambda value: value.split("\n")[0])
def test_a_config_is_read(verb: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"{verb}.yaml"
    path.write_text(text)
    assert main([verb, "--config", str(path), "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    folder = "run_dir" if verb == "fit" else "output_dir"
    assert printed[folder] == yaml.safe_load(text)[folder]


def test_every_verb_of_the_page_has_its_config() -> None:
    assert [verb for verb, _ in CONFIGS] == ["synthesize", "curate", "fit", "evaluate"]
