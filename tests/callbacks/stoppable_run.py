"""A run to be stopped by a signal: `python stoppable_run.py RUN_DIR DEVICES`. Prints its steps."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from tests.callbacks.toy_run import toy_fit

from grsap.callbacks import AdapterCheckpoint, GracefulStop
from grsap.commands.boundary import run_guarded
from grsap.runs.folder import RunFolder


class Slow(Callback):
    """Takes 0.2 s a step and says when a step is done."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # One write a line: `print` makes two of an unbuffered stream, and the ranks share it.
        sys.stdout.write(f"rank {trainer.global_rank} step {trainer.global_step}\n")
        sys.stdout.flush()
        time.sleep(0.2)


def main() -> int:
    run_dir, devices = Path(sys.argv[1]), int(sys.argv[2])
    several = {"strategy": "ddp", "devices": devices} if devices > 1 else {}
    checkpoint = RunFolder(run_dir).newest_checkpoint()
    toy_fit(run_dir, [Slow(), AdapterCheckpoint(100), GracefulStop()], checkpoint=checkpoint, max_epochs=40, **several)
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main))
