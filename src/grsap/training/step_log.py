"""Log the metrics of each step: for callbacks at every step, for loggers every `trainer.log_every_n_steps`."""

from __future__ import annotations

import time

from lightning.pytorch import LightningModule

from grsap.training.gradient_step import StepSums


class StepLog:
    """Logs losses, speed, gradient norm and learning rate.

    Args:
        module: logs the metrics.
        logs_weights: whether to log the objectives' coefficients, as `train/weight/<name>`.
    """

    def __init__(self, module: LightningModule, logs_weights: bool) -> None:
        self._module = module
        self._logs_weights = logs_weights
        self._started, self._num_tokens = time.perf_counter(), 0

    def is_due(self, step: int) -> bool:
        """Return whether loggers get the metrics of step `step`, from 0."""
        trainer = self._module.trainer
        return bool(trainer.loggers) and (step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]

    def write(self, sums: StepSums, learning_rate: float) -> None:
        """Log a step. `train/tokens_per_second` is the mean since the last step whose losses were read.

        Args:
            sums: of the step.
            learning_rate: of the step.
        """
        self._num_tokens += sums.num_tokens
        now = time.perf_counter()
        log, grad_norm = sums.losses_and_norm()
        log["train/tokens_per_second"] = self._num_tokens / max(1e-9, now - self._started)
        log["train/grad_norm"] = grad_norm
        log["train/learning_rate"] = learning_rate
        if self._logs_weights:
            log |= {f"train/weight/{name}": weight for name, weight in sums.weights.items()}
        self._module.log_dict(log, logger=False, on_step=True, on_epoch=False, batch_size=1)
        if self.is_due(sums.step):
            # Lightning logs after the step's checkpoint is written: a run killed in between would lose the metrics.
            for logger in self._module.trainer.loggers:
                logger.log_metrics(log, step=sums.step + 1)
        if sums.is_read:
            self._started, self._num_tokens = now, 0
