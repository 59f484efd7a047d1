"""Task and replay rows as one stream of optimizer steps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn

from grsap.compat import uses_distributed_sampler
from grsap.data.batching import Batching
from grsap.data.conversation import ConversationDataModule
from grsap.data.conversations import fingerprint, place_of, read_conversations
from grsap.data.dealing import StepBuilder
from grsap.data.loading import PREFETCH_FACTOR, PlannedStep, PlannedSteps, StepDataset, StepLoader, step_loader
from grsap.data.order_state import OrderState
from grsap.data.plan import Order, PlannedRow, Schedule, plan
from grsap.data.replay import ReplayDataModule
from grsap.data.samplers import Sampler
from grsap.data.step import StepBatch
from grsap.data.strata import Shortfall, describe_shortfalls
from grsap.errors import ConfigError
from grsap.files import hash_json
from grsap.models.base import BaseModel
from grsap.records import SafetyRecord, Source, Split
from grsap.text.collation import SOURCES
from grsap.text.encoding import EncodedRow, EncodingReport, EncodingSettings, encode_rows

DEFAULT_BATCHING = Batching()
DEFAULT_ENCODING = EncodingSettings()


class MixtureDataModule(LightningDataModule):
    """Mix a task with a replay set. One item of the training loader is one optimizer step of this device.

    The rows of a step depend only on seed, schedule and rows, not on devices, workers, micro-batches or interruptions.
    The Trainer needs `use_distributed_sampler=False`, because this class distributes rows over devices.

    Args:
        task: rows to learn.
        replay: safety rows to mix in; null for plain fine-tuning.
        sampler: mixing ratio, and order of rows.
        base: model whose chat template encodes the rows; its weights are not loaded.
        batching: rows per step, and tokens per micro-batch.
        encoding: length limit, and which tokens are supervised.
        seed: seed of the order.
        num_workers: processes that build batches in advance; 0 builds them in the main process.

    Attributes:
        task_rows, replay_rows: encoded rows, after `setup("fit")`.
        reports: counts of kept and dropped rows, by source.
        schedule: numbers of rows and ratios, with all changes so far.
        shortfalls: quotas of the sampler that the replay rows cannot fill.
        fingerprint: hash of the encoded rows; a checkpoint resumes only with the same.

    Raises:
        ConfigError: a micro-batch is shorter than the longest row, or `num_workers` is out of range.
    """

    def __init__(
        self,
        task: ConversationDataModule,
        replay: ReplayDataModule | None,
        sampler: Sampler,
        base: BaseModel,
        batching: Batching = DEFAULT_BATCHING,
        encoding: EncodingSettings = DEFAULT_ENCODING,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        batching.check_fits(encoding.max_length)
        max_workers = max(16, 4 * (os.cpu_count() or 1))
        if not 0 <= num_workers <= max_workers:
            raise ConfigError(
                f"num_workers is {num_workers}", f"Give 0 to {max_workers}: each is a process, and few are enough"
            )
        self.task = task
        self.replay = replay
        self.sampler = sampler
        self.base = base
        self.batching = batching
        self.encoding = encoding
        self.seed = seed
        self.num_workers = num_workers
        self.task_rows: list[EncodedRow] = []
        self.replay_rows: list[EncodedRow] = []
        self.reports: dict[Source, EncodingReport] = {}
        self.shortfalls: list[Shortfall] = []
        self.fingerprint = ""
        self.schedule: Schedule
        self._replay_records: list[SafetyRecord] = []
        self._evaluation_rows: dict[Split, list[EncodedRow]] = {}
        self._order: Order
        self._first_pass = ""
        self._builder: StepBuilder
        self._step = 0

    # Lightning calls the hooks of the outermost DataModule only, so they are forwarded to the children.

    def prepare_data(self) -> None:
        """Download files, on one process."""
        for _, child in self._children():
            child.prepare_data()

    def setup(self, stage: str) -> None:
        """Read, check and encode the rows that `stage` needs, before any weights are loaded.

        Raises:
            DataError, ConfigError, TemplateError: files, rows or settings are wrong.
        """
        for _, child in self._children():
            child.setup(stage)
        if stage == "fit" and not self.task_rows:
            self._setup_fit()
        split: Split = "validation" if stage in ("fit", "validate") else "test"
        if split not in self._evaluation_rows:
            conversations = read_conversations(self.task, split, required=stage != "fit")
            self._evaluation_rows[split] = self._encode(conversations, "task", split)[0] if conversations else []

    def teardown(self, stage: str) -> None:
        """Forward to the children."""
        for _, child in self._children():
            child.teardown(stage)

    def on_exception(self, exception: BaseException) -> None:
        """Forward to the children."""
        for _, child in self._children():
            child.on_exception(exception)

    def _children(self) -> list[tuple[str, LightningDataModule]]:
        """Return task and replay by name, attached to the trainer, which Lightning does for the outermost only."""
        children: list[tuple[str, LightningDataModule]] = [("task", self.task)]
        if self.replay is not None:
            children.append(("replay", self.replay))
        for _, child in children:
            child.trainer = self.trainer
        return children

    def _setup_fit(self) -> None:
        conversations = read_conversations(self.task, "train", required=True)
        records = self.replay.records if self.replay is not None else []
        batch_size = self.batching.global_batch_size
        self.sampler.checked_schedule(len(conversations), len(records), batch_size)  # fails before rows are encoded
        self.task_rows, self.reports["task"] = self._encode(conversations, "task", "train")
        if records:
            assert self.replay is not None
            self.replay_rows, self.reports["replay"] = self._encode(self.replay.rows(), "replay", "train")
        by_id = {record.id: record for record in records}
        self._replay_records = [by_id[row.id] for row in self.replay_rows]
        self.schedule = self.sampler.checked_schedule(len(self.task_rows), len(self.replay_rows), batch_size)
        self.shortfalls = self.sampler.shortfalls(self.schedule, self.seed, self._replay_records)
        if self.shortfalls:
            rank_zero_warn(describe_shortfalls(self.shortfalls))
        self.fingerprint = fingerprint([*self.task_rows, *self.replay_rows])
        self._order = lru_cache(maxsize=8)(self._pass_order)
        self._first_pass = hash_json([list(self._order(source, 0)) for source in SOURCES])
        self._builder = self._step_builder(self.task_rows, self.replay_rows)

    def _encode(
        self, rows: Iterable[Mapping[str, Any]], source: Source, split: Split
    ) -> tuple[list[EncodedRow], EncodingReport]:
        place = place_of(self.task, split)
        if source == "replay" and self.replay is not None:
            place = f"rows kept of {self.replay.path}"
        encoded = encode_rows(rows, self.base.template, source, self.encoding, place, self.base.limits.check)
        for note in encoded.report.notes(self.encoding):
            rank_zero_warn(f"{place}: {note}")
        return encoded.rows, encoded.report

    def _step_builder(self, task: Sequence[EncodedRow], replay: Sequence[EncodedRow]) -> StepBuilder:
        return StepBuilder(
            rows={"task": task, "replay": replay},
            max_tokens=self.batching.max_tokens_per_micro_batch,
            packed=self.packs_rows,
            pad_token_id=self.base.template.pad_token_id,
        )

    @cached_property
    def packs_rows(self) -> bool:
        """Return whether the rows of a micro-batch are packed into one sequence; otherwise they are padded.

        Raises:
            ConfigError: packing is on, but the base model cannot separate packed rows.
        """
        return self.batching.packs(self.base.supports_packing)

    # The order of rows: pure functions once the rows are encoded.

    @property
    def has_validation_rows(self) -> bool:
        """Return whether the task has validation rows; known after `setup`."""
        return bool(self._evaluation_rows.get("validation"))

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimizer steps per epoch, which do not depend on the number of devices."""
        return self.schedule.steps_per_epoch

    def plan(self, step: int) -> list[PlannedRow]:
        """Return the rows of an optimizer step over all devices; steps are counted over all epochs."""
        return plan(self.seed, step, self.schedule, self._order)

    def why_unseen(self, source: Source) -> str:
        """Return in parentheses why a run does not see all rows of a source; empty if it is merely too short."""
        takes_place = source == "task" and getattr(self.sampler, "control", None) == "total" and self.replay_rows
        return " (sampler.control is total: replay rows take their place)" if takes_place else ""

    def step_batch(self, step: int, rank: int, world_size: int) -> StepBatch:
        """Return the batch of device `rank` of `world_size` for a step."""
        return self._builder.build(step, self.plan(step), rank, world_size)

    def change_replay_ratio(self, replay_ratio: float, from_step: int | None = None) -> int:
        """Change the share of replay rows from a step that no loader has planned yet. All ranks must make this call.

        Args:
            replay_ratio: replay rows / all rows, in [0, 1], for any `control` of the sampler.
            from_step: first step with the new ratio; by default the first unplanned one.

        Returns:
            The first step with the new ratio.

        Raises:
            ConfigError: the ratio is out of range, or the step is already planned.
        """
        current = self._current_step()
        first_free = current + 1 + self.num_workers * PREFETCH_FACTOR
        if from_step is None:
            from_step = max(first_free, self.schedule.changes[-1].from_step)
        if from_step < first_free:
            raise ConfigError(
                f"the replay ratio cannot change at step {from_step}: the run is at {current} and prefetches steps",
                f"Give from_step {first_free} or later",
            )
        self.schedule = self.schedule.with_change(from_step, replay_ratio)
        return from_step

    def _pass_order(self, source: Source, pass_index: int) -> Sequence[int]:
        rows = self.task_rows if source == "task" else self._replay_records
        return self.sampler.checked_order(source, pass_index, self.seed, rows)

    # Loaders.

    def train_dataloader(self) -> StepLoader:
        """Return a loader of the current epoch from the run's current step; its `len` is that of the whole epoch.

        Raises:
            ConfigError: the Trainer would distribute or repeat the steps itself.
        """
        self._check_trainer()
        steps = PlannedSteps(self.steps_per_epoch, self._position, self.plan)
        return step_loader(StepDataset(self._builder, *self._rank()), steps, self.num_workers)

    def val_dataloader(self) -> StepLoader | list[StepLoader]:
        """Return a loader of the validation rows in order, `global_batch_size` at a time; no loader without rows."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> StepLoader | list[StepLoader]:
        """Return a loader of the test rows, as `val_dataloader` does."""
        return self._evaluation_loader("test")

    predict_dataloader = test_dataloader

    def _evaluation_loader(self, split: Split) -> StepLoader | list[StepLoader]:
        rows = self._evaluation_rows[split]
        if not rows:
            # Lightning warns about an empty loader, but an empty split is allowed.
            warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
            return []
        size = self.batching.global_batch_size
        steps = [
            PlannedStep(number, tuple(PlannedRow("task", i, 0) for i in range(start, min(start + size, len(rows)))))
            for number, start in enumerate(range(0, len(rows), size))
        ]
        self._check_trainer()
        return step_loader(StepDataset(self._step_builder(rows, []), *self._rank()), steps, self.num_workers)

    def _rank(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _check_trainer(self) -> None:
        trainer = self.trainer
        if trainer is None:
            return
        if trainer.world_size > 1 and uses_distributed_sampler(trainer):
            raise ConfigError(
                "trainer.use_distributed_sampler is true, so Lightning would distribute the steps a second time",
                "Set trainer.use_distributed_sampler to false",
            )
        if trainer.overfit_batches:  # type: ignore[attr-defined]
            raise ConfigError("trainer.overfit_batches repeats steps, which the plan does not", "Set sampler.num_rows")

    def _current_step(self) -> int:
        """Return the number of finished optimizer steps; Lightning restores its own count from a checkpoint."""
        return self._step if self.trainer is None else self.trainer.global_step

    def _position(self) -> tuple[int, int]:
        """Return the next step, and the number of items of this epoch that Lightning has counted."""
        step = self._current_step()
        if self.trainer is None:
            return step, step % self.steps_per_epoch
        return step, self.trainer.fit_loop.batch_idx + 1

    # State.

    def _order_state(self) -> OrderState:
        return OrderState(self._current_step(), self.seed, self.schedule, self.fingerprint, self._first_pass)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that determines the order of rows, and the children's, in plain values."""
        if not self.fingerprint:
            return {}
        children = {name: state for name, child in self._children() if (state := child.state_dict())}
        return {**self._order_state().to_dict(), "children": children}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's step and changes of the ratio.

        Raises:
            DataError: the rows differ from the checkpoint's.
            ConfigError: seed, batch size or sampler differ from the checkpoint's.
        """
        for name, child in self._children():
            if name in state_dict["children"]:
                child.load_state_dict(state_dict["children"][name])
        if not self.fingerprint:
            return  # validate, test or predict: no training rows
        saved = OrderState.from_dict(state_dict)
        saved.check_continues(self._order_state())
        self.schedule, self._step = saved.schedule, saved.step

    def summary(self) -> dict[str, Any]:
        """Return the mixture in JSON values, for the manifest; `replay_share` is the actual share of an epoch."""
        schedule = self.schedule
        num_replay = schedule.replay_before(schedule.steps_per_epoch)
        return {
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "task": self.task.describe(),
            "sampler": type(self.sampler).__name__,
            "rows_per_epoch": schedule.num_rows,
            "replay_rows_per_epoch": num_replay,
            "replay_share": num_replay / schedule.num_rows,
            "ratio_changes": [asdict(change) for change in schedule.changes],
            "steps_per_epoch": schedule.steps_per_epoch,
            "sources": {source: asdict(report) for source, report in self.reports.items()},
            "num_excluded_replay": dict(self.replay.num_excluded) if self.replay is not None else {},
            "shortfalls": [asdict(shortfall) for shortfall in self.shortfalls],
        }
