"""What `grsap fit` needs to be measured, as anyone would plug it in: a callback and a sampler, named in the config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from record import Record, Row, matmul_parameters

from grsap.callbacks.phases import phase_seconds
from grsap.data import RatioSampler
from grsap.data.step import StepBatch
from grsap.records import SafetyRecord

FETCH = "[_TrainingEpochLoop].train_dataloader_next"
"""What Lightning's profiler calls the wait for the loader."""


class FileOrder(RatioSampler):
    """Rows come as they stand in their files."""

    def task_order(self, pass_index: int, seed: int, num_rows: int) -> Sequence[int]:
        return range(num_rows)

    def replay_order(self, pass_index: int, seed: int, records: Sequence[SafetyRecord]) -> Sequence[int]:
        return range(len(records))


class StepClock(Callback):
    """Notes each step in `record`, which the process sets."""

    record: Record

    def __init__(self) -> None:
        super().__init__()
        self.more: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.record.adapter(p for p in pl_module.parameters() if p.requires_grad)
        self.more["matmul_parameters"] = matmul_parameters(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.record.step_begins()
        self.record.saw(rows_of(batch))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.record.losses[-1] = float(trainer.callback_metrics["train/loss"])
        self.record.step_ends()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.more["check_seconds"] = seconds = phase_seconds(trainer)
        if between := self.record.job["rows_between_checks"]:
            training = between * self.record.steady_seconds() / self.record.steady_rows()
            self.more["check_share"] = seconds / (seconds + training)
        durations = getattr(trainer.profiler, "recorded_durations", {}).get(FETCH)
        if durations:
            num = len(self.record.ends)
            skipped = min(self.record.job["skipped_steps"], num - 1)
            self.more["loader_wait_share"] = sum(durations[skipped:num]) / self.record.steady_seconds()
        StepClock.finished = self.more

    finished: dict[str, Any]


def rows_of(batch: StepBatch) -> Iterator[Row]:
    for micro_batch in batch.micro_batches:
        ids = micro_batch.input_ids.tolist()
        targets = {position + 1 for position in micro_batch.target_positions.tolist()}
        for span in micro_batch.spans:
            first = span.batch_index * micro_batch.input_ids.shape[1] + span.start
            mask = [place in targets for place in range(first, first + span.length)]
            yield ids[span.batch_index][span.start : span.start + span.length], mask
