from __future__ import annotations

from pathlib import Path

import pytest
from tests.callbacks.toy_run import KillAfter, Killed, toy_fit

from grsap.callbacks import AdapterCheckpoint, MixtureMonitor
from grsap.runs.folder import RunFolder


def test_counts_what_the_steps_hold(tmp_path: Path) -> None:
    monitor = MixtureMonitor()
    assert monitor.replay_ratio_seen is None
    toy_fit(tmp_path, [monitor, AdapterCheckpoint(100)])
    assert monitor.num_rows == {"task": 30, "replay": 10}
    assert monitor.num_targets == {"task": 300, "replay": 100}
    assert monitor.replay_ratio_seen == 0.25


def test_logs_at_the_interval(tmp_path: Path) -> None:
    toy_fit(tmp_path, [MixtureMonitor(), AdapterCheckpoint(100)], max_epochs=1, log_every_n_steps=2)
    logged = [line for line in (tmp_path / "metrics.csv").read_text().splitlines() if "mixture" in line]
    assert logged == [
        line
        for step in (2, 4)
        for line in (
            f"{step},mixture/replay_ratio,0.25",
            f"{step},mixture/num_rows/task,{3 * step}",
            f"{step},mixture/num_rows/replay,{step}",
            f"{step},mixture/num_targets/task,{30 * step}",
            f"{step},mixture/num_targets/replay,{10 * step}",
        )
    ]


def test_goes_on_counting_after_a_resume(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        toy_fit(tmp_path, [MixtureMonitor(), AdapterCheckpoint(3), KillAfter(8)])
    monitor = MixtureMonitor()
    toy_fit(tmp_path, [monitor, AdapterCheckpoint(3)], checkpoint=RunFolder(tmp_path).newest_checkpoint())
    assert monitor.num_rows == {"task": 30, "replay": 10}
    assert monitor.num_targets == {"task": 300, "replay": 100}


def test_a_checkpoint_without_learned_counts_is_taken_as_all_learned() -> None:
    monitor = MixtureMonitor()
    monitor.load_state_dict({"num_rows": {"task": 3, "replay": 1}, "num_targets": {"task": 30, "replay": 10}})
    assert monitor.num_rows_learned == {"task": 3, "replay": 1}
    assert monitor.num_targets_learned == {"task": 30, "replay": 10}
