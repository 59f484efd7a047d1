"""Settings of Lightning's own classes: what cannot work is told before weights load, and what can works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from tests.commands.conftest import Run, task_rows, write_rows

from grsap.callbacks import RunSummary
from grsap.objectives import CrossEntropy
from grsap.training.callback_checks import monitored_metrics

LIGHTNING = "lightning.pytorch.callbacks"


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"callbacks": [{"class_path": f"{LIGHTNING}.EMAWeightAveraging"}]}, "EMAWeightAveraging writes"),
        ({"callbacks": [{"class_path": f"{LIGHTNING}.EarlyStopping", "init_args": {"monitor": "x"}}]}, "monitors 'x'"),
        ({"max_steps": 0}, "trainer.max_steps 0 trains nothing."),
        ({"limit_train_batches": 0.01}, "trainer.limit_train_batches 0.01 leaves none of 2 steps."),
        ({"accelerator": "cuda"}, "The Trainer rejects its settings: "),
        ({"devices": 0}, "The Trainer rejects its settings: `Trainer(devices=0)` value is not a valid input"),
        ({"devices": -1}, "`devices` selected with `CPUAccelerator` should be an int > 0."),
        ({"devices": "a"}, "`devices` selected with `CPUAccelerator` should be an int > 0."),
        ({"strategy": "nope"}, "invalid strategy name: `strategy='nope'`"),
        ({"profiler": "nope"}, "The Trainer rejects its settings: When passing string value for the `profiler`"),
        ({"max_time": "soon"}, "`Timer(duration='soon')` is not a valid duration."),
    ],
)
def test_told_before_weights_load(
    settings: dict[str, Any], told: str, words: tuple[str, ...], run: Run, error_of: Callable[[], str]
) -> None:
    run.config["trainer"] |= settings
    assert run.fit(*words) == 2
    assert told in error_of()


def test_the_metrics_of_a_run_are_those_that_may_be_monitored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def on_fit_end(self: Any, trainer: Trainer, *_: Any) -> None:
        seen.update(trainer.callback_metrics)

    monkeypatch.setattr(RunSummary, "on_fit_end", on_fit_end, raising=False)
    run.config["data"]["task"]["init_args"]["validation_path"] = str(write_rows(run.folder / "v.jsonl", task_rows()))
    assert run.fit() == 0
    objectives = [CrossEntropy("task"), CrossEntropy("replay")]
    assert set(seen) == set(monitored_metrics(objectives, has_validation=True))


@pytest.mark.parametrize("duration", ["00:01:00:00", {"hours": 1}])
def test_a_callback_with_defaults_of_an_enumeration_can_be_written_down(run: Run, duration: Any) -> None:
    timer = {"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": duration}}
    run.config["trainer"] |= {"callbacks": [timer], "max_steps": 1}
    assert run.fit() == 0
    assert "interval: step" in (run.run_dir / "config.yaml").read_text()


@pytest.mark.parametrize(
    "settings", [{"enable_progress_bar": False}, {"callbacks": [{"class_path": f"{LIGHTNING}.RichProgressBar"}]}]
)
def test_progress_may_be_shown_by_another_or_by_none(run: Run, settings: dict[str, Any]) -> None:
    run.config["trainer"] |= settings
    assert run.fit() == 0


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--seed_everything=-1", "seed_everything is -1. Give a number from 0 to 2^32 - 1."),
        (f"--seed_everything={2**32}", f"seed_everything is {2**32}. Give a number from 0 to 2^32 - 1."),
        ("--data.num_workers=-1", "data.num_workers is -1. Give 0 to "),
        ("--data.num_workers=99999", "data.num_workers is 99999. Give 0 to "),
        ("--model.lora.lora_alpha=0", "model.lora.lora_alpha is 0, but the adapter is scaled by lora_alpha / r."),
        ("--model.lora.lora_alpha=-8", "model.lora.lora_alpha is -8, but the adapter is scaled by lora_alpha / r."),
    ],
)
def test_numbers_out_of_range(run: Run, option: str, told: str, error_of: Callable[[], str]) -> None:
    assert run.fit(option) == 2
    assert error_of().startswith(f"error: {told}")


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (
            {"class_path": "torch.optim.AdamW", "init_args": {"lr": -1.0}},
            "AdamW rejects its settings: Invalid learn",
        ),
        ({"class_path": "torch.optim.Adam", "init_args": {"betas": [2, 3]}}, "Adam rejects its settings: Invalid beta"),
        (
            {"class_path": "torch.optim.SGD", "init_args": {"weight_decay": -1}},
            "SGD rejects its settings: Invalid w",
        ),
        ({"class_path": "torch.optim.LBFGS"}, "model.optimizer: LBFGS cannot make a step on cpu: "),
    ],
)
def test_rates_out_of_range(run: Run, optimizer: dict[str, Any], told: str, error_of: Callable[[], str]) -> None:
    run.config["model"]["optimizer"] = optimizer
    assert run.fit() == 2
    assert error_of().startswith(f"error: {told}")
