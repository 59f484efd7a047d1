"""Which rows each step has: a pure function of (seed, step, schedule), independent of the number of devices.

Each source is a stream of passes over its rows, each pass in an order of its own. A step takes the next rows of both
streams; how many of each follows from the ratio alone. So the rows of any step are found without the steps before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from grsap.errors import ConfigError
from grsap.records import Source

MAX_DENOMINATOR = 10_000_000


@dataclass(frozen=True)
class PlannedRow:
    """One row of one step: `index` counts within its source, `pass_index` counts the passes over that source."""

    source: Source
    index: int
    pass_index: int


@dataclass(frozen=True)
class RatioChange:
    """From `from_step` on, the share of replay rows is `replay_ratio`."""

    from_step: int
    replay_ratio: float

    @property
    def share(self) -> Fraction:
        """The exact ratio: 0.1 is 1/10, and the float nearest to k/N is k/N for N up to ten million rows."""
        return Fraction(str(self.replay_ratio)).limit_denominator(MAX_DENOMINATOR)


@dataclass(frozen=True)
class Schedule:
    """All that decides the order of rows, besides the seed.

    Attributes:
        num_task, num_replay: rows available.
        num_rows: rows of one epoch, task and replay together.
        global_batch_size: rows of a step, over all devices; the last step of an epoch may be short.
        changes: share of replay rows, by step; the first change is at step 0.
    """

    num_task: int
    num_replay: int
    num_rows: int
    global_batch_size: int
    changes: tuple[RatioChange, ...] = field(default=(RatioChange(0, 0.0),))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return -(-self.num_rows // self.global_batch_size)

    def rows_before(self, step: int) -> int:
        """Rows of all steps before `step`, over all devices."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return epoch * self.num_rows + position * self.global_batch_size

    def replay_before(self, step: int) -> int:
        """Replay rows of all steps before `step`.

        Within a piece of constant ratio r they are floor(r n(end)) - floor(r n(start)), with n = `rows_before`; where
        every batch is full that is floor(r B s), so the share is exact and never drifts.
        """
        total = 0
        for number, change in enumerate(self.changes):
            if change.from_step >= step:
                break
            last = number + 1 == len(self.changes)
            end = step if last else min(step, self.changes[number + 1].from_step)
            rows = (self.rows_before(change.from_step), self.rows_before(end))
            total += int(change.share * rows[1]) - int(change.share * rows[0])
        return total

    def unseen_after(self, num_steps: int) -> dict[Source, int]:
        """Rows of each source that no step before `num_steps` brings: a pass brings every row once."""
        replay = self.replay_before(num_steps)
        task = self.rows_before(num_steps) - replay
        return {"task": max(0, self.num_task - task), "replay": max(0, self.num_replay - replay)}

    def with_change(self, from_step: int, replay_ratio: float) -> Schedule:
        """The schedule with another ratio from `from_step` on; steps before it keep their rows.

        Raises:
            ConfigError: the ratio is outside [0, 1], a source it needs has no rows, or a later change exists.
        """
        check_ratio(replay_ratio)
        if replay_ratio > 0 and not self.num_replay:
            raise ConfigError(f"replay_ratio is {replay_ratio}, but there are no replay rows", "Set data.replay")
        if replay_ratio < 1 and not self.num_task:
            raise ConfigError(f"replay_ratio is {replay_ratio}, but there are no task rows", "Set data.task")
        if from_step < self.changes[-1].from_step:
            raise ConfigError(
                f"from_step {from_step} lies before the last change, at step {self.changes[-1].from_step}",
                "Append changes in the order of steps",
            )
        kept = tuple(change for change in self.changes if change.from_step < from_step)
        return replace(self, changes=(*kept, RatioChange(from_step, replay_ratio)))

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint; `from_state` reads them."""
        return {**asdict(self), "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Schedule:
        """Read what `to_state` wrote."""
        return cls(**{**state, "changes": tuple(RatioChange(**change) for change in state["changes"])})


Order = Callable[[Source, int], Sequence[int]]
"""(source, pass_index) -> the indices of that source's rows in the order of that pass."""


def check_ratio(replay_ratio: float) -> None:
    """Raise ConfigError unless `replay_ratio` is in [0, 1]."""
    if not 0 <= replay_ratio <= 1:
        raise ConfigError(f"replay_ratio is {replay_ratio}", "Give the share of replay rows, in [0, 1]")


def permutation(seed: int, source: Source, pass_index: int, num_rows: int) -> Sequence[int]:
    """The order of one pass: a permutation of range(num_rows) that depends on the arguments alone.

    PCG64's raw stream is sorted instead of calling numpy's shuffle: the stream is guaranteed not to change between
    versions, the shuffle is not.
    """
    return _permutation(seed, source, pass_index, num_rows)


@lru_cache(maxsize=16)
def _permutation(seed: int, source: Source, pass_index: int, num_rows: int) -> tuple[int, ...]:
    digest = hashlib.sha256(f"{seed}/{source}/{pass_index}".encode()).digest()
    keys = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(num_rows)
    return tuple(np.argsort(keys, kind="stable").tolist())


def plan(seed: int, step: int, schedule: Schedule, order: Order | None = None) -> list[PlannedRow]:
    """The rows of optimizer step `step` over all devices, task rows first.

    Args:
        seed: of the shuffles.
        step: from 0, counted over all epochs.
        schedule: sizes and ratios.
        order: the order of each pass; by default a shuffle by (seed, source, pass_index).
    """

    def shuffled(source: Source, pass_index: int) -> Sequence[int]:
        num_rows = schedule.num_task if source == "task" else schedule.num_replay
        return permutation(seed, source, pass_index, num_rows)

    order = order or shuffled
    rows = (schedule.rows_before(step), schedule.rows_before(step + 1))
    replay = (schedule.replay_before(step), schedule.replay_before(step + 1))
    task = (rows[0] - replay[0], rows[1] - replay[1])
    return [
        *_take("task", task, schedule.num_task, order),
        *_take("replay", replay, schedule.num_replay, order),
    ]


def _take(source: Source, places: tuple[int, int], num_rows: int, order: Order) -> list[PlannedRow]:
    """The rows at the given places of a source's stream of passes."""
    taken = []
    for place in range(*places):
        pass_index, offset = divmod(place, num_rows)
        taken.append(PlannedRow(source, order(source, pass_index)[offset], pass_index))
    return taken
