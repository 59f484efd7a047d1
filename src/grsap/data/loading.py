"""Loaders whose items are optimizer steps of one device."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from grsap.data.dealing import StepBuilder
from grsap.data.plan import PlannedRow
from grsap.data.step import StepBatch

PREFETCH_FACTOR = 2


@dataclass(frozen=True)
class PlannedStep:
    """A step and its rows over all devices; sent to loader workers."""

    step: int
    rows: tuple[PlannedRow, ...]


class StepDataset(Dataset[StepBatch]):
    """Build the batch of a planned step for one device.

    Args:
        builder: builds batches from the encoded rows.
        rank: rank of the device.
        world_size: number of devices.
    """

    def __init__(self, builder: StepBuilder, rank: int, world_size: int) -> None:
        self.builder = builder
        self.rank = rank
        self.world_size = world_size

    def __getitem__(self, item: PlannedStep) -> StepBatch:
        """Return the batch of `item` for this device."""
        return self.builder.build(item.step, item.rows, self.rank, self.world_size)


class PlannedSteps(Sampler[PlannedStep]):
    """Yield the remaining steps of the current epoch.

    Args:
        steps_per_epoch: steps of a whole epoch, which `len` returns even after a resume.
        position: returns (next step, finished steps of this epoch); called at the first `next`.
        plan: returns the rows of a step. Called in the main process, which knows changes of the ratio.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        position: Callable[[], tuple[int, int]],
        plan: Callable[[int], Sequence[PlannedRow]],
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.position = position
        self.plan = plan

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[PlannedStep]:
        step, done = self.position()
        for number in range(self.steps_per_epoch - done):
            yield PlannedStep(step + number, tuple(self.plan(step + number)))


class StepLoader(DataLoader[StepBatch]):
    """A loader with a length that starts at the run's current step.

    `len` is that of a whole epoch even after a resume, because Lightning counts the steps before it, too. Iteration
    starts at the first `next`, not at `iter`: Lightning may call `iter` before it restores its counters
    (`estimated_stepping_batches` in `configure_optimizers` does), and workers prefetch immediately. The position is the
    run's step, so the loader has no state; but Lightning resumes only loaders with the two state methods.
    """

    def __iter__(self) -> Iterator[StepBatch]:  # type: ignore[override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state: the position is the optimizer step."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def _keep(item: Any) -> Any:
    return item


def _leave_signals_to_the_run(worker_id: int) -> None:
    """Ignore signals sent to all processes (Ctrl-C, a scheduler's SIGTERM): workers live until the run is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def step_loader(
    dataset: StepDataset, steps: Sampler[PlannedStep] | Sequence[PlannedStep], num_workers: int
) -> StepLoader:
    """Return a loader with one item per step and `num_workers` worker processes (0: none)."""
    return StepLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        collate_fn=_keep,
        num_workers=num_workers,
        prefetch_factor=PREFETCH_FACTOR if num_workers else None,
        worker_init_fn=_leave_signals_to_the_run,
        generator=torch.Generator(),  # otherwise the workers' seed is drawn from the global generator of the training
    )
