"""Each YAML file under benchmarks/cells says what the runner understands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from benchmarks.runner.cell import CELLS, Cell, load_cell, load_cells
from benchmarks.runner.execution import SIDES

from grsap.errors import ConfigError

FILES = sorted(CELLS.rglob("*.yaml"))
MAX_LINES = 40

GOOD = """
title: a cell
sides:
  a: {program: grsap_fit}
  b: {program: loop, config: {packing: true}, job: {rows_per_step: 4}}
figures:
  - {of: a, over: b, by: tokens_per_s, target: {at_least: 3.0}}
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_cell_parses(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    cell = load_cell(path)
    assert cell.name == path.stem
    assert cell.figures
    for name, side in cell.sides.items():
        assert side.program == "command" or (SIDES / f"{side.program}.py").is_file()
        # A step that is one micro-batch on the other sides must be one on ours.
        assert side.program == "command" or cell.side_job(name).num_rows % cell.side_job(name).rows_per_step == 0


def test_the_cells_of_the_issue_are_there() -> None:
    assert {
        "train_lora_vs_trl",
        "train_vs_trl_best",
        "train_nf4_vs_lora",
        "train_vs_loop",
        "train_vs_trl_packed",
        "checkpointing_vs_trl",
        "replay_vs_single",
        "kl_cost",
        "loader_wait",
        "startup",
        "checks_cost",
        "ladder",
        "growth_rows",
        "growth_length",
        "growth_replay_ratio",
        "lora_8b",
        "lora_8b_liger",
        "lora_8b_compiled",
        "qlora_8b",
        "qlora_8b_memory",
    } <= {path.stem for path in FILES}


def test_suites() -> None:
    assert [cell.name for cell in load_cells(["quick"])] == ["train_lora_vs_trl"]
    cpu = {cell.name for cell in load_cells(["cpu"])}
    gpu = {cell.name for cell in load_cells(["gpu"])}
    assert "train_lora_vs_trl" in cpu
    assert gpu == {path.stem for path in FILES if path.parent.name == "gpu"}
    assert cpu | gpu == {path.stem for path in FILES}
    assert not cpu & gpu


def test_an_unknown_cell_is_told_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"no cell train_lora\. There are .*train_lora_vs_trl"):
        load_cells(["train_lora"])


def test_a_side_overrides_the_job(tmp_path: Path) -> None:
    cell = written(tmp_path, GOOD)
    assert cell.side_job("a").rows_per_step == 8
    assert cell.side_job("b").rows_per_step == 4
    assert cell.side_job("b").num_rows == cell.job.num_rows == 24


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("title: a cell", "titel: a cell", "Cell has no titel"),
        ("program: grsap_fit", "program: axolotl", "side a has the program axolotl"),
        ("rows_per_step", "batch_size", "unexpected keyword argument 'batch_size'"),
        ("over: b", "over: c", "a figure names c"),
        ("of: a, over: b", "of: [a, b]", "an exponent have no `x`"),
        ("program: grsap_fit", "program: command", "side a"),
        ("title: a cell", "title: [", "expected"),
    ],
)
def test_what_is_wrong_in_a_cell(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=r"cell\.yaml") as caught:
        written(tmp_path, GOOD.replace(old, new))
    assert problem in str(caught.value)


def written(folder: Path, text: str) -> Cell:
    path = folder / "cell.yaml"
    path.write_text(text)
    return load_cell(path)


def test_targets_are_those_of_the_issue() -> None:
    targets = {
        figure["name"]: figure["target"]
        for path in FILES
        for figure in yaml.safe_load(path.read_text())["figures"]
        if "target" in figure
    }
    assert targets["tokens/s, steady state, grsap / TRL"] == {"at_least": 3.0}
    assert targets["peak memory, grsap / TRL"] == {"at_most": 0.7}
    assert targets["tokens/s, steady state, NF4 / LoRA"] == {"at_least": 0.9}
    assert targets["tokens/s, steady state, grsap / loop"] == {"at_least": 0.97}
    assert targets["time of the steps, with KL / without"] == {"at_most": 1.08}
