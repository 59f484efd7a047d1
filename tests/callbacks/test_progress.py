from __future__ import annotations

import io
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tests.callbacks.toy_run import KillAfter, Killed, ToyModule, toy_fit, toy_trainer

from grsap import progress as line_module
from grsap.callbacks import AdapterCheckpoint, ProgressReport, phase, progress
from grsap.callbacks.phases import phase_seconds
from grsap.console import Console
from grsap.errors import ConfigError


def report_to(every_s: float = 60.0, terminal: bool = False) -> tuple[ProgressReport, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    return ProgressReport(every_s, console), text


class Steps:
    """A trainer as far as the bar asks it."""

    def __init__(self, **values: Any) -> None:
        self.global_step, self.max_steps, self.max_epochs, self.num_training_batches = 0, -1, 2, 10
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.progress_bar_callback: ProgressReport | None = None
        self.should_stop = False
        vars(self).update(values)


def test_line_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    for module in (progress, line_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    report, _ = report_to()
    trainer: Any = Steps(global_step=4)
    module: Any = None
    report.on_train_start(trainer, module)
    assert report.line() == "Training 4/20 | 0 s so far"
    report.on_train_batch_start(trainer, module, None, 0)
    clock[0] += 8.0
    trainer.global_step, trainer.callback_metrics = 5, {"train/loss": torch.tensor(1.25)}
    report.on_train_batch_end(trainer, module, None, SimpleNamespace(num_tokens=4000), 0)
    assert report.line() == "Training 5/20 | loss 1.2500 | 500 tokens/s | ETA 2 min 00 s"
    clock[0] += 18.0
    trainer.global_step = 6
    report.on_train_batch_end(trainer, module, None, SimpleNamespace(num_tokens=4000), 1)
    # seconds a step: 0.9 x 8 + 0.1 x 18 = 9; 14 steps are left; seconds a token: 9 / 4000
    assert report.line() == "Training 6/20 | loss 1.2500 | 444 tokens/s | ETA 2 min 06 s"
    report.on_train_end(trainer, module)
    assert report.line() == ""


def test_time_in_checks_is_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, paused = [100.0], [0.0]
    for module in (progress, line_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(progress, "phase_seconds", lambda trainer: paused[0])
    report, _ = report_to()
    trainer: Any = Steps()
    module: Any = None
    report.on_train_start(trainer, module)
    report.on_train_batch_start(trainer, module, None, 0)
    clock[0] += 65.0
    paused[0] += 60.0
    trainer.global_step = 1
    report.on_train_batch_end(trainer, module, None, SimpleNamespace(num_tokens=50), 0)
    assert report.line() == "Training 1/20 | 10 tokens/s | ETA 1 min 35 s"
    report.on_train_end(trainer, module)


def test_a_file_gets_plain_lines_while_a_step_is_slow(tmp_path: Path) -> None:
    class SlowStep(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 2:
                time.sleep(0.5)

    report, text = report_to(every_s=0.1)
    toy_fit(tmp_path, [report, SlowStep(), AdapterCheckpoint(100)], enable_progress_bar=True)
    lines = text.getvalue().splitlines()
    pattern = r"Training [12]/10 \| loss 0\.0000 \| [\d,]+ tokens/s \| ETA \d+ s"
    slow = [line for line in lines if re.fullmatch(pattern, line)]
    assert len(slow) >= 3
    assert "\x1b" not in text.getvalue()
    assert [thread.name for thread in threading.enumerate() if thread.name == "grsap-progress"] == []


def test_the_thread_ends_with_a_failed_run(tmp_path: Path) -> None:
    report, _ = report_to(every_s=0.1)
    with pytest.raises(Killed):
        toy_fit(tmp_path, [report, KillAfter(2), AdapterCheckpoint(100)], enable_progress_bar=True)
    assert [thread.name for thread in threading.enumerate() if thread.name == "grsap-progress"] == []


def test_phases_show_themselves_and_are_timed() -> None:
    report, text = report_to(every_s=0.05)
    trainer: Any = Steps(progress_bar_callback=report)
    assert phase_seconds(trainer) == 0.0
    with phase(trainer, "check\x1b[2J at step 0", 8) as done:
        done(2, 8)
        time.sleep(0.3)
    lines = text.getvalue().splitlines()
    assert lines[0] == "check\ufffd[2J at step 0 ..."
    assert set(lines[1:-1]) <= {"check\ufffd[2J at step 0 2/8 | ETA 0 s"}
    assert len(lines) >= 5
    assert lines[-1] == "check\ufffd[2J at step 0: done in 0 s"
    assert 0.3 <= phase_seconds(trainer) < 5
    assert report._display.ticker is None


def test_a_phase_that_fails_is_ended() -> None:
    report, _ = report_to(every_s=0.05)
    trainer: Any = Steps(progress_bar_callback=report)
    with pytest.raises(Killed), phase(trainer, "check", 8):
        raise Killed
    assert (report.line(), report._display.ticker) == ("", None)


def test_phases_without_a_bar_are_timed() -> None:
    trainer: Any = Steps()
    with phase(trainer, "check") as done:
        done(1, 2)
        time.sleep(0.05)
    assert 0.05 <= phase_seconds(trainer) < 5


def test_a_terminal_gets_a_live_line(tmp_path: Path) -> None:
    report, text = report_to(terminal=True)

    class Wait(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 3:
                report._display.live.refresh()  # type: ignore[union-attr]

    toy_fit(tmp_path, [report, Wait(), AdapterCheckpoint(100)], enable_progress_bar=True)
    written = text.getvalue()
    assert re.search(r"Training 3/10 \| loss 0\.0000 \| [\d,]+ tokens/s \| ETA 0 s", written)
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert report._display.live is None


class Evaluated(ToyModule):
    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        time.sleep(0.05)


def test_validation_shows_its_batches(tmp_path: Path) -> None:
    report, text = report_to(every_s=0.02)
    trainer = toy_trainer(tmp_path, [report], logger=False, enable_progress_bar=True)
    trainer.validate(Evaluated(), dataloaders=torch.utils.data.DataLoader(torch.zeros(4), num_workers=0), verbose=False)
    lines = text.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("Validation ...", "Validation: done in 0 s")
    assert {line.split(" | ")[0] for line in lines[1:-1]} >= {"Validation 1/4", "Validation 2/4", "Validation 3/4"}
    assert phase_seconds(trainer) >= 0.2


def test_interval_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"ProgressReport\.every_s is 0"):
        ProgressReport(every_s=0)


def test_other_ranks_are_silent() -> None:
    report, text = report_to(every_s=0.02)
    report.disable()
    report.on_train_start(Steps(), None)  # type: ignore[arg-type]
    with report.phase("check", 2):
        time.sleep(0.1)
    report.print("hello")
    assert text.getvalue() == ""


def test_print_leaves_control_characters_out() -> None:
    report, text = report_to()
    report.print("a\x1b]0;title\x07b", "[red]c")
    assert text.getvalue() == "a\ufffd]0;title\ufffdb [red]c\n"
