"""Show the progress of a run: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from grsap.callbacks.phases import phase, phase_seconds
from grsap.console import Console
from grsap.errors import ConfigError
from grsap.generation.base import Progress
from grsap.progress import EVERY_S, Display, ProgressState, duration
from grsap.training.run_length import total_steps

_SMOOTHING = 0.1
_LOSS_EVERY_S = 0.5


class ProgressReport(ProgressBar):
    """Shows step, loss, tokens/s and remaining time, and the progress of checks.

    On a terminal it is a live line. Elsewhere (a file, a pipe, a CI log) a thread prints a plain line every `every_s`
    seconds, also during a long step or a slow check. It is written to stderr, without control characters.

    Args:
        every_s: seconds between plain lines, more than 0.
        console: by default stderr.

    Raises:
        ConfigError: `every_s` is out of range.
    """

    def __init__(self, every_s: float = EVERY_S, console: Console | None = None) -> None:
        super().__init__()
        if every_s <= 0:
            raise ConfigError(f"ProgressReport.every_s is {every_s}", "Give seconds, more than 0")
        self._display = Display(lambda: self._phase or self._training, every_s, console)
        self._enabled = True
        self._training: ProgressState | None = None
        self._phase: ProgressState | None = None
        self._mark = (0.0, 0.0)
        self._loss_at = 0.0
        self._evaluation = ExitStack()

    def enable(self) -> None:
        """Show progress."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on ranks other than 0."""
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a line above the bar."""
        if self._enabled:
            self._display.console.print_line(" ".join(str(arg) for arg in args))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the training steps."""
        self._training = ProgressState("Training", total_steps(trainer), trainer.global_step)
        self._start()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock at the first step."""
        if self._mark[0] == 0.0:
            self._mark = (time.monotonic(), phase_seconds(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; its time excludes checks since the last step."""
        state = self._training
        if state is None or not self._enabled:
            return
        now, paused = time.monotonic(), phase_seconds(trainer)
        seconds = max(now - self._mark[0] - (paused - self._mark[1]), 1e-9)
        self._mark = (now, paused)
        state.done = trainer.global_step
        state.seconds_per_item = _smooth(state.seconds_per_item, seconds)
        tokens = getattr(batch, "num_tokens", 0)
        if tokens:
            state.tokens_per_second = 1.0 / _smooth(
                None if not state.tokens_per_second else 1.0 / state.tokens_per_second, seconds / tokens
            )
        if now - self._loss_at >= _LOSS_EVERY_S:  # reading the loss synchronizes host and device
            self._loss_at = now
            loss = trainer.callback_metrics.get("train/loss")
            state.loss = float(loss) if isinstance(loss, torch.Tensor) else state.loss

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the training line; the final checks have lines of their own."""
        self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show validation as a phase, also during fit."""
        self._begin_evaluation(trainer, "Validation", trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the test as a phase."""
        self._begin_evaluation(trainer, "Test", trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show prediction as a phase."""
        self._begin_evaluation(trainer, "Prediction", trainer.num_predict_batches)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        if (state := self._phase) is not None:
            state.done += 1
            state.seconds_per_item = (time.monotonic() - state.started) / state.done

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the phase."""
        self._evaluation.close()

    on_test_end = on_predict_end = on_validation_end

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the terminal."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the terminal."""
        self._stop()

    @contextmanager
    def phase(self, description: str, total: int | None = None) -> Iterator[Progress]:
        """Show the progress of work inside the block that is not training; `grsap.callbacks.phase` also times it.

        Args:
            description: shown before the numbers.
            total: number of items; None if unknown.

        Yields:
            A function to be called with (items done, total items).
        """
        state = self._phase = ProgressState(description, total)
        was_running = self._display.is_running
        self._start()
        self._say(f"{description} ...")

        def report(done: int, of: int) -> None:
            state.done, state.total = done, of
            if done:
                state.seconds_per_item = (time.monotonic() - state.started) / done

        try:
            yield report
        finally:
            self._phase = None
            self._say(f"{description}: done in {duration(time.monotonic() - state.started)}")
            if not was_running:
                self._stop()

    def line(self) -> str:
        """Return the current progress in one line."""
        return self._display.line()

    def _begin_evaluation(self, trainer: Trainer, description: str, num_batches: Sequence[int | float]) -> None:
        total = sum(num_batches) if all(isinstance(num, int) for num in num_batches) else None
        self._evaluation.enter_context(phase(trainer, description, None if total is None else int(total)))

    def _start(self) -> None:
        if self._enabled:
            self._display.start()

    def _stop(self) -> None:
        self._display.stop()
        self._training, self._mark = None, (0.0, 0.0)

    def _say(self, text: str) -> None:
        if self._enabled:
            self._display.say(text)


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else (1 - _SMOOTHING) * old + _SMOOTHING * new
