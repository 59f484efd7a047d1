from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from tests.callbacks.toy_run import KillAfter, Killed, toy_fit

from grsap.callbacks import AdapterCheckpoint
from grsap.runs.folder import RunFolder
from grsap.streams import spreadsheet_text
from grsap.training.metrics_log import MetricsLog


def lines(path: Path) -> list[str]:
    return (path / "metrics.csv").read_text().splitlines()


def test_one_number_a_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.log_metrics({"check/task_score/test": 0.25, "mixture/num_rows/task": 2**53 + 1, "flag": True}, step=3)
    log.log_metrics({"check/task_score/test": float("nan"), "note": "=1+1", "@odd": -1.5}, step=6)
    assert lines(tmp_path) == [
        "step,key,value",
        "3,check/task_score/test,0.25",
        "3,mixture/num_rows/task,9007199254740993",
        "3,flag,1",
        "6,check/task_score/test,nan",
        "6,note,'=1+1",
        "6,'@odd,-1.5",
    ]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=SUM(A1)", "'=SUM(A1)"),
        ("+cmd", "'+cmd"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\t=x", "' =x"),
        ("-1.5", "-1.5"),
        ("+2e-5", "+2e-5"),
        ("a=b", "a=b"),
        ("a\nb\x1b[31m", "a b [31m"),
    ],
)
def test_cells_that_spreadsheets_would_run(text: str, cell: str) -> None:
    assert spreadsheet_text(text) == cell


def test_steps_are_optimizer_steps_done(tmp_path: Path) -> None:
    class Check(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 2:
                trainer.logger.log_metrics({"check/x": 0.5}, step=trainer.global_step)

    toy_fit(tmp_path, [Check(), AdapterCheckpoint(100)], max_epochs=1)
    assert lines(tmp_path) == [
        "step,key,value",
        "1,train/loss,0.0",
        "2,check/x,0.5",
        "2,train/loss,1.0",
        "3,train/loss,2.0",
        "4,train/loss,3.0",
        "5,train/loss,4.0",
    ]


def test_any_csv_reader_reads_it(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.log_metrics({'odd, "key"': 1e-300}, step=1)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"step": "1", "key": 'odd, "key"', "value": "1e-300"}]


def test_truncation_keeps_whole_lines_of_earlier_steps(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in (0, 1, 2, 3):
        log.log_metrics({"a": float(step)}, step=step)
    log.log_metrics({"late": 1.0}, step=2)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("1,a,0.12345")  # `kill -9` in the middle of a line
    log.truncate_after(2)
    assert lines(tmp_path) == ["step,key,value", "0,a,0.0", "1,a,1.0", "2,a,2.0", "2,late,1.0"]
    log.log_metrics({"a": 9.0}, step=3)
    assert lines(tmp_path)[-1] == "3,a,9.0"
    log.truncate_after(0)
    assert lines(tmp_path) == ["step,key,value", "0,a,0.0"]


def test_the_folder_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert MetricsLog("~/run").path == tmp_path / "run" / "metrics.csv"


def test_truncation_without_a_file(tmp_path: Path) -> None:
    MetricsLog(tmp_path).truncate_after(3)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_writes_each_line_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        toy_fit(tmp_path, [AdapterCheckpoint(3), KillAfter(5)])
    expected = ["step,key,value", *(f"{step},train/loss,{step - 1}.0" for step in range(1, 11))]
    assert lines(tmp_path) == expected[:6]
    toy_fit(tmp_path, [AdapterCheckpoint(3)], checkpoint=RunFolder(tmp_path).newest_checkpoint())
    assert lines(tmp_path) == expected


def test_a_run_without_a_checkpoint_starts_its_log_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        toy_fit(tmp_path, [AdapterCheckpoint(100), KillAfter(2)])
    toy_fit(tmp_path, [AdapterCheckpoint(100)], max_epochs=1)
    assert lines(tmp_path) == ["step,key,value", *(f"{step},train/loss,{step - 1}.0" for step in range(1, 6))]
