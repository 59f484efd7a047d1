"""What a run says of the rows that it learned from: in its log, its summary and its card."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

import pytest
from tests.commands.conftest import Run

from grsap.objectives import Balancer, Objective, StepReport


class TaskAlone(Balancer):
    """Takes replay out of the loss from a step on.

    Args:
        from_step: the first such step, from 0.
    """

    def __init__(self, from_step: int = 0) -> None:
        self.from_step = from_step

    def weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        step = 0 if previous is None else previous.step + 1
        return {each.name: float(each.source == "task" or step < self.from_step) for each in objectives}


def logged(run: Run, key: str) -> dict[int, float]:
    with (run.run_dir / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["key"] == key}


def test_a_source_has_a_loss_at_the_steps_that_have_its_rows(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.fit("--data.batching.global_batch_size=2", "--trainer.log_every_n_steps=1") == 0
    # 12 rows in steps of 2, a quarter of them replay: floor(.5 s) before step s.
    assert sorted(logged(run, "train/loss/task_cross_entropy")) == [1, 2, 3, 4, 5, 6]
    replay = logged(run, "train/loss/replay_cross_entropy")
    assert sorted(replay) == [2, 4, 6]
    assert min(replay.values()) > 0.1
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert summary["rows_learned"] == {"task": 9, "replay": 3}
    assert summary["rows_at_hand"] == {"task": 12, "replay": 6}
    assert summary["rows_unseen"] == {"task": 3, "replay": 3}
    assert summary["targets_learned"]["replay"] == 3 * 11
    assert "3 of 12 task rows were not seen" in capsys.readouterr().out
    card = (run.run_dir / "adapter" / "README.md").read_text()
    assert "trained with grsap" in card
    assert "with safety rows mixed in ([generative replay]" in card
    assert "- replay: 3 rows learned (33 supervised tokens), repeats counted; 6 rows available (" in card
    assert " supervised tokens); 3 of them were never seen\n" in card
    assert "- generative-replay\n" in card
    assert "Nothing was measured: whether this model still refuses what the base model refused is unknown." in card
    assert "numbers above" not in card


def test_replay_of_the_weight_0_is_not_called_learned(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.config["model"]["objectives"] = [
        {"class_path": "CrossEntropy", "init_args": {"source": "task"}},
        {"class_path": "CrossEntropy", "init_args": {"source": "replay", "weight": 0.0}},
    ]
    with pytest.warns(UserWarning, match=r"3 replay rows, but no objective learns from them: the weight of each"):
        assert run.fit() == 0
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert summary["rows_learned"] == {"task": 9, "replay": 0}
    card = (run.run_dir / "adapter" / "README.md").read_text()
    assert "with safety rows mixed in" not in card
    assert "generative-replay" not in card
    assert "- replay: none learned, because no objective of a weight above 0 uses them; 6 rows available" in card
    assert "- Safety rows were in the training batches, but nothing was learned from them." in card


@pytest.mark.filterwarnings("default")
def test_replay_that_a_balancer_takes_out_of_the_loss_is_not_called_learned(run: Run) -> None:
    run.config["model"]["balancer"] = {"class_path": f"{__name__}.TaskAlone"}
    with pytest.warns(UserWarning, match=r"nothing was learned from 3 replay rows: every objective .* the weight 0"):
        assert run.fit() == 0
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert (summary["rows_learned"], summary["targets_learned"]["replay"]) == ({"task": 9, "replay": 0}, 0)
    card = (run.run_dir / "adapter" / "README.md").read_text()
    assert "with safety rows mixed in" not in card
    assert "- Safety rows were in the training batches, but nothing was learned from them." in card


def test_replay_is_learned_in_the_steps_in_which_it_counts(run: Run) -> None:
    run.config["model"]["balancer"] = {"class_path": f"{__name__}.TaskAlone", "init_args": {"from_step": 3}}
    assert run.fit("--data.batching.global_batch_size=2") == 0
    # Steps of 2 of 12 rows; the second, fourth and sixth have a replay row, of which the first counts.
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert summary["rows_learned"] == {"task": 9, "replay": 1}
    assert summary["targets_learned"]["replay"] == 11
