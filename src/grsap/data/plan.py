"""The rows of each step: a pure function of (seed, step, schedule), independent of the number of devices.

Each source is a stream of passes over its rows, with a new shuffle for each pass. A step takes the next rows of both
streams, in numbers that follow from the ratio only. The rows of a step are therefore computed without previous steps.
"""

from __future__ import annotations

import hashlib
import operator
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
    """One row of one step: its `index` within the source, and the number of earlier passes over that source."""

    source: Source
    index: int
    pass_index: int


@dataclass(frozen=True)
class RatioChange:
    """The share of replay rows, in [0, 1], from step `from_step`."""

    from_step: int
    replay_ratio: float

    @property
    def share(self) -> Fraction:
        """Return the exact ratio: 1/10 for 0.1, and k/N for the float nearest to it, for N up to ten million rows."""
        return Fraction(str(self.replay_ratio)).limit_denominator(MAX_DENOMINATOR)


@dataclass(frozen=True)
class Schedule:
    """Everything besides the seed that determines which rows a step has.

    Attributes:
        num_task: number of task rows.
        num_replay: number of replay rows.
        num_rows: rows per epoch, task and replay together.
        global_batch_size: rows per step, over all devices; the last step of an epoch may have fewer.
        changes: changes of the share of replay rows, in the order of steps; the first is at step 0.
    """

    num_task: int
    num_replay: int
    num_rows: int
    global_batch_size: int
    changes: tuple[RatioChange, ...] = field(default=(RatioChange(0, 0.0),))

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimizer steps per epoch."""
        return -(-self.num_rows // self.global_batch_size)

    def rows_before(self, step: int) -> int:
        """Return the number of rows of all steps before `step`, over all devices."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return epoch * self.num_rows + position * self.global_batch_size

    def replay_before(self, step: int) -> int:
        """Return the number of replay rows of all steps before `step`.

        Over steps with a constant ratio r it is floor(r n(end)) - floor(r n(start)), with n = `rows_before`: rounding
        errors do not accumulate, so that the share is exact.
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
        """Return the number of rows of each source that occur in no step before `num_steps`."""
        replay = self.replay_before(num_steps)
        task = self.rows_before(num_steps) - replay
        return {"task": max(0, self.num_task - task), "replay": max(0, self.num_replay - replay)}

    def with_change(self, from_step: int, replay_ratio: float) -> Schedule:
        """Return the schedule with another ratio from step `from_step`; earlier steps keep their rows.

        Raises:
            ConfigError: the ratio is outside [0, 1], a source it needs has no rows, or a later change exists.
            TypeError, ValueError: the step is no integer, or the ratio no number.
        """
        # Checkpoints hold plain numbers only. By its text, a float32 ratio of 0.3 keeps its share of exactly 3/10.
        from_step, replay_ratio = operator.index(from_step), float(str(replay_ratio))
        check_ratio(replay_ratio)
        if replay_ratio > 0 and not self.num_replay:
            raise ConfigError(f"replay_ratio is {replay_ratio}, but there are no replay rows", "Set data.replay")
        if replay_ratio < 1 and not self.num_task:
            raise ConfigError(f"replay_ratio is {replay_ratio}, but there are no task rows", "Set data.task")
        if from_step < self.changes[-1].from_step:
            raise ConfigError(
                f"from_step {from_step} is before the last change, at step {self.changes[-1].from_step}",
                "Append changes in the order of steps",
            )
        kept = tuple(change for change in self.changes if change.from_step < from_step)
        return replace(self, changes=(*kept, RatioChange(from_step, replay_ratio)))

    def to_state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint; `from_state` reads them."""
        return {**asdict(self), "changes": [asdict(change) for change in self.changes]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Schedule:
        """Read what `to_state` wrote."""
        return cls(**{**state, "changes": tuple(RatioChange(**change) for change in state["changes"])})


Order = Callable[[Source, int], Sequence[int]]
"""(source, pass_index) -> row indices of that source, in the order of that pass."""


def check_ratio(replay_ratio: float) -> None:
    """Raise ConfigError unless `replay_ratio` is in [0, 1]."""
    if not 0 <= replay_ratio <= 1:
        raise ConfigError(f"replay_ratio is {replay_ratio}", "Give the share of replay rows, in [0, 1]")


@lru_cache(maxsize=16)
def permutation(seed: int, source: Source, pass_index: int, num_rows: int) -> Sequence[int]:
    """Return the order of one pass: a permutation of range(num_rows), determined by the arguments.

    Sorts PCG64's raw stream, which is guaranteed not to change between versions of numpy; numpy's shuffle is not.
    """
    digest = hashlib.sha256(f"{seed}/{source}/{pass_index}".encode()).digest()
    keys = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(num_rows)
    return tuple(np.argsort(keys, kind="stable").tolist())


def plan(seed: int, step: int, schedule: Schedule, order: Order | None = None) -> list[PlannedRow]:
    """Return the rows of optimizer step `step` over all devices, task rows first.

    Args:
        seed: seed of the shuffles.
        step: index of the step over all epochs, from 0.
        schedule: numbers of rows, and ratios.
        order: order of each pass; by default a shuffle by (seed, source, pass_index).
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
    """Return the rows in a range of places of a source's stream of passes."""
    taken = []
    for place in range(*places):
        pass_index, offset = divmod(place, num_rows)
        taken.append(PlannedRow(source, order(source, pass_index)[offset], pass_index))
    return taken
