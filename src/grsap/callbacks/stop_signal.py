"""On SIGTERM, SIGUSR1, SIGHUP and Ctrl-C finish the step, save, and end with the signal's exit code."""

from __future__ import annotations

import signal
import subprocess
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from grsap.callbacks.adapter_checkpoint import AdapterCheckpoint
from grsap.callbacks.lookup import call_first, find_callback
from grsap.compat import child_processes, skip_signal_broadcast
from grsap.errors import ConfigError, Interrupted

_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")  # Windows has only the first two
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_CTRL_C_EXIT_CODE = 130


class GracefulStop(Callback):
    """On a signal finishes the step, lets `AdapterCheckpoint` save, and raises `Interrupted`.

    The signals are SIGTERM, the first Ctrl-C, SIGUSR1 (which SLURM sends before the time limit with
    `--signal=USR1@120`) and SIGHUP. A signal that was already ignored when the process started, as under `nohup`, is
    ignored.

    Lightning would end such a run with exit code 0 and without a checkpoint, so its handlers are replaced during
    training, including the one that requeues SLURM jobs. A second Ctrl-C stops at once, without saving. A signal before
    the first step (in the initial checks) stops at once too, on one device: there is nothing to save. After a signal in
    the last step the run ends normally.

    On several devices all ranks must stop at the same step, but the signal may reach only one. After each step the
    ranks' signals are reduced on the CPU (in a separate gloo group) asynchronously, and the result is read after the
    next step: a stop comes one step later, and no device waits for the host. Lightning's broadcast before each batch,
    which synchronizes host and device, is disabled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._received: signal.Signals | None = None
        self._stop_step: int | None = None
        self._signal = signal.SIGTERM
        self._is_opening = False
        self._group: dist.ProcessGroup | None = None
        self._flag = torch.zeros(1, dtype=torch.int32)
        self._work: dist.Work | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Run before the other callbacks, so that the initial checks can be stopped.

        Raises:
            ConfigError: there is no `AdapterCheckpoint` to save.
        """
        if stage != "fit":
            return
        if find_callback(trainer, AdapterCheckpoint) is None:
            raise ConfigError("trainer.callbacks has GracefulStop without AdapterCheckpoint", "Add it")
        call_first(trainer, self)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset signals of an earlier run, and create the process group for the flags."""
        self._received, self._stop_step, self._work = None, None, None
        if trainer.world_size > 1:
            self._group = dist.new_group(backend="gloo")
            skip_signal_broadcast(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers; Lightning restores the original ones when fit ends."""
        self._is_opening = trainer.world_size == 1
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._on_signal)
        if trainer.received_sigterm:
            self._on_signal(signal.SIGTERM, None)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Raise if the run was to stop after the previous step."""
        self._is_opening = False
        self._raise_if_saved(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise if the run was to stop after the last step of the previous epoch."""
        self._raise_if_saved(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decide on all ranks whether to stop after this step; the last step of a run saves and ends anyway."""
        received = self._received_by_any(trainer)
        if received is not None and self._stop_step is None:
            self._stop_step, self._signal = trainer.global_step, received
            _checkpoint(trainer).request_save()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the last reduction, which all ranks must complete."""
        if self._work is not None:
            self._work.wait()
            self._work = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Wait for the other ranks of this machine: Lightning kills rank 0 when one of them fails."""
        if isinstance(exception, Interrupted):
            _wait_for_children(child_processes(trainer.strategy))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self._received is not None
        self._received = signal.Signals(number)
        if again and number == signal.SIGINT:
            raise SystemExit(_CTRL_C_EXIT_CODE)
        if self._is_opening:
            raise Interrupted(
                f"Stopped by {self._received.name} before the first step; there was nothing to save.", number
            )

    def _received_by_any(self, trainer: Trainer) -> signal.Signals | None:
        """Return a signal that any rank has received; with several ranks one step late."""
        if trainer.world_size == 1:
            return self._received
        number = 0
        if self._work is not None:
            self._work.wait()
            number = int(self._flag.item())
        self._flag = torch.tensor([int(self._received or 0)], dtype=torch.int32)
        self._work = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        return signal.Signals(number) if number else None

    def _raise_if_saved(self, trainer: Trainer) -> None:
        if self._stop_step is None or _checkpoint(trainer).last_saved_step != self._stop_step:
            return
        raise Interrupted(
            f"Stopped by {self._signal.name} after step {self._stop_step}; saved. Add --resume to continue.",
            self._signal,
        )


def _checkpoint(trainer: Trainer) -> AdapterCheckpoint:
    checkpoint = find_callback(trainer, AdapterCheckpoint)
    assert checkpoint is not None  # seen in setup
    return checkpoint


def _wait_for_children(processes: list[subprocess.Popen[bytes]], timeout_s: float = 30.0) -> None:
    children = list(processes)
    processes.clear()  # Lightning's observer thread watches this list
    for child in children:
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.terminate()
