"""Count the rows and supervised tokens seen, by source."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from grsap.records import Source
from grsap.text.collation import SOURCES

_COUNTS = ("num_rows", "num_targets", "num_rows_learned", "num_targets_learned")


class MixtureMonitor(Callback):
    """Counts rows and supervised tokens by source, over all devices and over resumes.

    Logs `mixture/replay_ratio`, `mixture/num_rows/<source>` and `mixture/num_targets/<source>` every
    `trainer.log_every_n_steps` steps. Warns at the end of a source whose objectives had the weight 0 in all steps.

    Attributes:
        num_rows: rows trained on so far, by source; a row counts each time it is seen.
        num_targets: supervised tokens so far, by source.
        num_rows_learned, num_targets_learned: the same in steps in which an objective of the source had a weight > 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_rows: dict[Source, int] = dict.fromkeys(SOURCES, 0)
        self.num_targets: dict[Source, int] = dict.fromkeys(SOURCES, 0)
        self.num_rows_learned: dict[Source, int] = dict.fromkeys(SOURCES, 0)
        self.num_targets_learned: dict[Source, int] = dict.fromkeys(SOURCES, 0)

    @property
    def replay_ratio_seen(self) -> float | None:
        """Replay rows over all rows seen, in [0, 1]; None before the first step."""
        total = sum(self.num_rows.values())
        return self.num_rows["replay"] / total if total else None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step. The batch has the counts of all devices, so nothing is reduced."""
        learned = getattr(pl_module, "learned_sources", SOURCES)
        for row in batch.rows:
            self.num_rows[row.source] += 1
            self.num_rows_learned[row.source] += row.source in learned
        for source, count in batch.num_targets.items():
            self.num_targets[source] += count
            self.num_targets_learned[source] += count * (source in learned)
        untyped: Any = trainer
        every: int = untyped.log_every_n_steps
        if every and trainer.global_step % every == 0:
            self._log(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {name: dict(getattr(self, name)) for name in _COUNTS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts. Older checkpoints have no learned ones: all rows seen count as learned."""
        for name in _COUNTS:
            setattr(self, name, dict(state_dict.get(name, state_dict[name.removesuffix("_learned")])))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of sources from which nothing was learned."""
        for source, num in self.num_rows.items():
            if num and not self.num_rows_learned[source]:
                rank_zero_warn(
                    f"nothing was learned from {num} {source} rows: every objective that reads them had the weight 0 "
                    "at each step."
                )

    def _log(self, trainer: Trainer) -> None:
        ratio = self.replay_ratio_seen
        values: dict[str, Any] = {} if ratio is None else {"mixture/replay_ratio": ratio}
        values |= {f"mixture/num_rows/{source}": count for source, count in self.num_rows.items()}
        values |= {f"mixture/num_targets/{source}": count for source, count in self.num_targets.items()}
        # Not with self.log, which converts to float32: counts above 16.7 million would be rounded.
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
