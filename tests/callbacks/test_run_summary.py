from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from tests.callbacks.toy_run import (
    KillAfter,
    Killed,
    PlantedHarmfulness,
    PlantedTaskScore,
    toy_fit,
)

from grsap.callbacks import AdapterCheckpoint, MixtureMonitor, RunSummary, phase, run_summary
from grsap.callbacks.peak_memory import peak_memory_bytes
from grsap.errors import ConfigError
from grsap.metrics import PairedChange, rate_estimate, share_interval, tango_interval
from grsap.runs.folder import RunFolder


def read(run_dir: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run_dir / "summary.json").read_text(), parse_constant=pytest.fail)
    return summary


def rate(num_true: int, judge: str) -> dict[str, Any]:
    low, high = share_interval(num_true, 4)
    return {"value": num_true / 4, "low": low, "high": high, "num_prompts": 4, "num_unparsed": 0, "judge": judge}


def test_planted_results_stand_in_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = PlantedTaskScore({0: 0.0, 4: 0.25, 10: 1.0})
    harm = PlantedHarmfulness({0: 0.25, 4: 1.0, 10: 0.75})
    summing = RunSummary(margin=0.05, next_command="grsap report")
    toy_fit(tmp_path, [task, harm, summing, MixtureMonitor(), AdapterCheckpoint(100)])
    summary = read(tmp_path)
    assert (summary["status"], summary["stage"], summary["schema"]) == ("finished", "fit", "grsap.summary/1")
    over_refusal = ("over_refusal_rate", "over_refusal_rate_twins", "over_refusal_rate_ordinary")
    benign = ("benign_answer_rate", "benign_no_answer_rate")
    empty = dict.fromkeys([*over_refusal, *benign, "pair_accuracy", "incoherent_share"])
    assert summary["before"] == {
        "task_score": rate(0, "exact"),
        "harmfulness_rate": rate(1, "planted"),
        "compliance_rate": rate(1, "planted"),
        "refusal_rate": rate(3, "planted"),
        "no_answer_rate": rate(0, "planted"),
        **empty,
    }
    assert summary["after"] == {
        "task_score": rate(4, "exact"),
        "harmfulness_rate": rate(3, "planted"),
        "compliance_rate": rate(3, "planted"),
        "refusal_rate": rate(1, "planted"),
        "no_answer_rate": rate(0, "planted"),
        **empty,
    }
    low, high = tango_interval(4, 0, 4)
    assert summary["changes"]["task_score"] == {
        "difference": 1.0,
        "low": low,
        "high": high,
        "num_pairs": 4,
        "num_worse": 0,
        "num_better": 4,
        "p_value": 0.125,
        "num_unparsed": 0,
        "ratio_excess": None,
        "verdict": "undecided",  # four prompts: p = .125
    }
    assert "verdict" not in summary["changes"]["harmfulness_rate"]  # a proxy sees no harm
    low, high = tango_interval(2, 0, 4)
    change = summary["changes"]["compliance_rate"]
    assert (change["difference"], change["low"], change["high"]) == (0.5, low, high)
    assert (change["num_worse"], change["num_better"], change["margin"], change["verdict"]) == (2, 0, 0.05, "undecided")
    assert summary["majority_baseline"] == 0.25
    assert summary["harmfulness_is_proxy"] is True
    assert (summary["num_steps"], summary["num_tokens"], summary["replay_ratio_seen"]) == (10, 400, 0.25)
    assert summary["peak_memory_bytes"] > 100 * 2**20
    assert 0 < summary["seconds"] < 60
    assert summary["tokens_per_second"] > 0
    assert summary["next_command"] == "grsap report"
    assert summary["paths"] == {
        "adapter": str(tmp_path / "adapter"),
        "transcripts": None,
        "log": str(tmp_path / "metrics.csv"),
        "summary": str(tmp_path / "summary.json"),
        "best_checkpoint": str(tmp_path / "checkpoints" / "step=000010"),
    }
    assert RunFolder(tmp_path).is_finished
    printed = capsys.readouterr().out
    assert "compliance" in printed
    assert "non-refusal" not in printed
    assert "100.0 % (n=4)" in printed


def test_a_run_without_checks(tmp_path: Path) -> None:
    toy_fit(tmp_path, [RunSummary(), AdapterCheckpoint(100)])
    summary = read(tmp_path)
    assert set(summary["before"].values()) == set(summary["after"].values()) == {None}
    assert (summary["changes"], summary["replay_ratio_seen"], summary["num_steps"]) == ({}, None, 10)


def test_a_check_at_one_end_only_has_no_change(tmp_path: Path) -> None:
    toy_fit(tmp_path, [PlantedTaskScore({10: 0.5}), PlantedHarmfulness({0: 0.5}), RunSummary(), AdapterCheckpoint(100)])
    summary = read(tmp_path)
    assert (summary["before"]["task_score"], summary["after"]["task_score"]["value"]) == (None, 0.5)
    assert (summary["before"]["harmfulness_rate"]["value"], summary["after"]["harmfulness_rate"]) == (0.5, None)
    assert summary["changes"] == {}


def test_a_killed_run_has_no_summary_and_its_parts_are_summed_up(tmp_path: Path) -> None:
    class Slow(Callback):
        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            time.sleep(0.05)

    with pytest.raises(Killed):
        toy_fit(tmp_path, [RunSummary(), AdapterCheckpoint(4), KillAfter(7), Slow()])
    assert not (tmp_path / "summary.json").exists()
    summary = RunSummary()
    toy_fit(tmp_path, [summary, AdapterCheckpoint(4), Slow()], checkpoint=RunFolder(tmp_path).newest_checkpoint())
    written = read(tmp_path)
    assert (written["num_tokens"], written["num_steps"]) == (400, 10)
    assert written["seconds"] >= 0.5  # 4 steps before the kill, 6 after
    assert summary.train_seconds >= 0.45
    assert written["tokens_per_second"] == pytest.approx(400 / summary.train_seconds)


def test_what_came_before_a_resume_is_added() -> None:
    summary = RunSummary()
    before = {"num_tokens": 5, "train_seconds": 2.0, "seconds": 1000.0, "peak_memory": 2**50}
    summary.load_state_dict(before)
    state = summary.state_dict()
    assert 1000.0 <= state.pop("seconds") < 1060.0
    assert state == {name: value for name, value in before.items() if name != "seconds"}


def test_killed_between_the_last_checkpoint_and_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def callbacks() -> list[Callback]:
        return [PlantedTaskScore({0: 0.0, 10: 1.0}), RunSummary(), MixtureMonitor(), AdapterCheckpoint(3)]

    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(run_summary, "write_json", die)
        with pytest.raises(Killed):
            toy_fit(tmp_path, callbacks())
    checkpoint = RunFolder(tmp_path).newest_checkpoint()
    assert checkpoint == tmp_path / "checkpoints" / "step=000010"
    _, module = toy_fit(tmp_path, callbacks(), checkpoint=checkpoint)
    assert module.seen == []
    summary = read(tmp_path)
    assert (summary["num_steps"], summary["num_tokens"], summary["replay_ratio_seen"]) == (10, 400, 0.25)
    assert (summary["before"]["task_score"]["value"], summary["after"]["task_score"]["value"]) == (0.0, 1.0)


def test_time_in_checks_is_not_in_the_throughput(tmp_path: Path) -> None:
    class Check(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            with phase(trainer, "check"):
                time.sleep(0.2)

    for number, order in enumerate(([Check(), RunSummary()], [RunSummary(), Check()])):
        toy_fit(tmp_path / str(number), [*order, AdapterCheckpoint(100)], max_epochs=1)
        summary = read(tmp_path / str(number))
        assert summary["seconds"] >= 1.0
        assert 200 / summary["tokens_per_second"] < 0.5


def test_unigram_score_beside_the_probes_and_the_reason_to_stop(tmp_path: Path) -> None:
    harm: Any = PlantedHarmfulness({0: 0.5, 10: 0.5})
    harm.probes_path = tmp_path / "probes" / "probes.jsonl"
    harm.stop_reason = "harmfulness 0.5 above the bound"
    harm.probes_path.parent.mkdir()
    (tmp_path / "probes" / "unigram.json").write_text('{"pair_accuracy": 0.18, "num_pairs": 3}')
    toy_fit(tmp_path / "run", [harm, RunSummary(), AdapterCheckpoint(100)])
    summary = read(tmp_path / "run")
    assert summary["unigram"] == {"pair_accuracy": 0.18, "num_pairs": 3}
    assert summary["stop_reason"] == "harmfulness 0.5 above the bound"


def test_verdicts_and_numbers_that_json_has_not() -> None:
    ends = ((0.01, 1, 0.05), (-1, -0.01, 0.05), (-0.1, 0.1, 0.05), (0.01, 1, 0.06))
    changes = [PairedChange(0.0, low, high, 9, 0, 0, p_value) for low, high, p_value in ends]
    assert [run_summary._gain(change) for change in changes] == ["gained", "lost", "undecided", "undecided"]
    values = {"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": -float("inf"), "e": 2}}
    assert run_summary._finite(values) == {"a": None, "b": [None, 1.0], "c": {"d": None, "e": 2}}


def test_an_unparsed_rate_has_no_value_and_the_whole_interval(tmp_path: Path) -> None:
    task: Any = PlantedTaskScore({})
    estimate = rate_estimate([None, None], "judge")
    task.results = {0: SimpleNamespace(task_score=estimate, majority_baseline=None, outcomes={})}
    toy_fit(tmp_path, [task, RunSummary(), AdapterCheckpoint(100)])
    before = read(tmp_path)["before"]["task_score"]
    assert (before["value"], before["num_prompts"], before["num_unparsed"]) == (None, 2, 2)


def test_peak_memory_is_of_this_process() -> None:
    import torch

    before = peak_memory_bytes(torch.device("cpu"))
    block = bytearray(before + 64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory_bytes(torch.device("cpu")) >= before + 64 * 2**20


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_margin_out_of_range(margin: float) -> None:
    with pytest.raises(ConfigError, match=r"RunSummary\.margin is"):
        RunSummary(margin)


@pytest.mark.parametrize("max_ratio", [0.9, float("nan"), float("inf")])
def test_ratio_out_of_range(max_ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"RunSummary\.max_ratio is"):
        RunSummary(max_ratio=max_ratio)
