"""What the sides note, and how they lay out rows; the programs themselves run in `test_running`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from benchmarks.runner.cell import Cell, all_cells
from benchmarks.runner.execution import SIDES, Options, job_of

ROWS = [([5, 6, 7], [False, True, True]), ([8, 9], [False, True])]


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/sides, whose folder is not on the path elsewhere."""
    import importlib

    monkeypatch.syspath_prepend(str(SIDES))
    for each in ("record", "step_clock", name):
        monkeypatch.delitem(sys.modules, each, raising=False)
    return importlib.import_module(name)


def test_a_record_counts_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_module = module("record", monkeypatch)
    # Imports; begin and end of three steps; the end of the process.
    times = iter([12.0, 20.0, 30.0, 31.0, 35.0, 36.0, 39.0, 50.0])
    monkeypatch.setattr(record_module.time, "monotonic", lambda: next(times))
    monkeypatch.setenv("BENCH_STARTED", "10.0")
    out = tmp_path / "record.json"
    record = record_module.Record({"out": str(out), "skipped_steps": 1})
    record.imports_done()
    for loss in (2.0, 1.5, 1.0):
        record.step_begins()
        record.saw(ROWS)
        record.losses[-1] = loss
        record.step_ends()
    record.write(check_seconds=0.5)
    found = json.loads(out.read_text())
    assert found["import_seconds"] == 2.0
    assert found["seconds"] == 50.0 - 10.0 - 2.0
    assert found["seconds_before_first_step"] == 10.0
    assert found["first_step_seconds"] == 10.0
    assert found["steady_seconds"] == 39.0 - 30.0
    assert found["tokens_per_s"] == 10 / 9
    assert found["tokens_per_s_end_to_end"] == 15 / 38
    assert (found["tokens"], found["supervised"], found["losses"]) == ([5, 5, 5], [3, 3, 3], [2.0, 1.5, 1.0])
    assert found["check_seconds"] == 0.5
    assert found["rows"][0] == found["rows"][1]
    assert len(set(found["rows"][0])) == 2


def test_a_rows_hash_knows_tokens_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    record = module("record", monkeypatch).Record({"skipped_steps": 1})
    record.step_begins()
    record.saw([([5, 6], [False, True]), ([5, 6], [True, True]), ([5, 7], [False, True]), ([5, 6], [False, True])])
    first, other_targets, other_tokens, again = record.rows[0]
    assert len({first, other_targets, other_tokens}) == 3
    assert again == first


def test_one_step_has_no_steady_state(monkeypatch: pytest.MonkeyPatch) -> None:
    record = module("record", monkeypatch).Record({"skipped_steps": 1})
    record.step_begins()
    record.step_ends()
    with pytest.raises(SystemExit, match="at least 2 steps"):
        record.steady_seconds()


def test_the_loop_packs_pads_and_fills_up(monkeypatch: pytest.MonkeyPatch) -> None:
    step = module("loop", monkeypatch).Step
    packed = step(ROWS, True, 0, 1, "cpu")
    assert packed.ids.tolist() == [[5, 6, 7, 8, 9]]
    assert packed.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert packed.labels.tolist() == [[-100, 6, 7, -100, 9]]
    assert packed.bounds.tolist() == [0, 3, 5]
    assert packed.mask is None
    filled = step(ROWS, True, 8, 1, "cpu")
    assert filled.ids.tolist() == [[5, 6, 7, 8, 9, 1, 1, 1]]
    assert filled.positions.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2]]
    assert filled.labels.tolist() == [[-100, 6, 7, -100, 9, -100, -100, -100]]
    assert filled.bounds.tolist() == [0, 3, 5, 8]
    with pytest.raises(SystemExit, match="1 tokens more than width 4"):
        step(ROWS, True, 4, 1, "cpu")
    padded = step(ROWS, False, 0, 1, "cpu")
    assert padded.ids.tolist() == [[5, 6, 7], [8, 9, 1]]
    assert padded.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert padded.labels.tolist() == [[-100, 6, 7], [-100, 9, -100]]


def test_rows_are_read_out_of_what_trl_collates(monkeypatch: pytest.MonkeyPatch) -> None:
    rows_of = module("trl_sft", monkeypatch).rows_of
    padded = {
        "input_ids": torch.tensor([[5, 6, 7], [8, 9, 0]]),
        "labels": torch.tensor([[-100, 6, 7], [-100, 9, -100]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    }
    flat = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9]]),
        "labels": torch.tensor([[-100, 6, 7, -100, 9]]),
        "position_ids": torch.tensor([[0, 1, 2, 0, 1]]),
    }
    assert list(rows_of(padded)) == list(rows_of(flat)) == ROWS


def test_configs_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = module("grsap_fit", monkeypatch).merged
    base = {"a": {"b": 1, "c": 2}, "trainer": {"callbacks": [1]}, "schedule": {"class_path": "A", "init_args": {}}}
    over = {"a": {"c": 3}, "trainer": {"callbacks": [2], "profiler": "x"}, "schedule": {"class_path": "B"}}
    assert merged(base, over) == {
        "a": {"b": 1, "c": 3},
        "trainer": {"callbacks": [1, 2], "profiler": "x"},
        "schedule": {"class_path": "B"},
    }
    assert base["trainer"] == {"callbacks": [1]}


GRSAP_SIDES = [(cell, name) for cell in all_cells() for name, side in cell.sides.items() if side.program == "grsap_fit"]


@pytest.mark.parametrize(("cell", "name"), GRSAP_SIDES, ids=lambda value: getattr(value, "name", value))
def test_a_side_is_a_config_that_grsap_takes(
    cell: Cell, name: str, tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grsap.commands.settings import RunSettings
    from grsap.commands.trust import restrict_imports

    side = module("grsap_fit", monkeypatch)
    job = job_of(cell, name, tmp_path, Options(tiny=True, model=str(tiny_base_path)))
    path = tmp_path / "fit.yaml"
    path.write_text(yaml.safe_dump(side.config_of(job)))
    restrict_imports(["step_clock"])
    settings = RunSettings("fit", ["--config", str(path)])
    assert settings.datamodule.batching.global_batch_size == 4
    assert type(settings.datamodule.sampler).__name__ == "FileOrder"
    assert (settings.datamodule.replay is None) == (job["num_replay_rows"] == 0)
    assert "StepClock" in [type(each).__name__ for each in settings.trainer.callbacks]
    wanted = cell.sides[name].config.get("model", {})
    assert settings.model.step_settings.compile == wanted.get("step", {}).get("compile", False)
    assert settings.model.base.quantization == wanted.get("base", {}).get("quantization", "none")
    assert len(settings.model.objectives) == len(wanted.get("objectives", [1, 2]))
