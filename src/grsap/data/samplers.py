"""Samplers: the mixing ratio of task and replay rows, and the order of replay rows."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from typing import Any, Literal

from grsap.data.plan import RatioChange, Schedule, check_ratio, permutation
from grsap.data.strata import Quotas, Shortfall, cell_of, find_shortfalls, stratified_order
from grsap.errors import ConfigError, DataError
from grsap.plugins import PluginError, described
from grsap.records import Behaviour, SafetyRecord, Source


class Sampler(ABC):
    """Determines how many rows of each source an epoch has, and the order of each pass over them.

    Implement `schedule`; the orders are shuffles unless overridden. All three methods must be pure functions.
    """

    @abstractmethod
    def schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Schedule:
        """Return the number of rows per epoch and the share of replay rows.

        Args:
            num_task: number of task rows after encoding.
            num_replay: number of replay rows after encoding.
            global_batch_size: rows per step.

        Raises:
            ConfigError: the rows do not allow it.
        """

    def task_order(self, pass_index: int, seed: int, num_rows: int) -> Sequence[int]:
        """Return the indices of the task rows, each once, in the order of a pass."""
        return permutation(seed, "task", pass_index, num_rows)

    def replay_order(self, pass_index: int, seed: int, records: Sequence[SafetyRecord]) -> Sequence[int]:
        """Return the indices of the replay records, each once, in the order of a pass."""
        return permutation(seed, "replay", pass_index, len(records))

    def shortfalls(self, schedule: Schedule, seed: int, records: Sequence[SafetyRecord]) -> list[Shortfall]:
        """Return the quotas that the replay set cannot fill, for log and manifest."""
        return []

    def checked_schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Schedule:
        """Call `schedule` and check its result.

        Raises:
            PluginError: the result is no schedule for these numbers of rows, or a user-defined sampler rejects them.
        """
        found: Any
        try:
            found = self.schedule(num_task, num_replay, global_batch_size)
        except ConfigError as error:
            if type(self).schedule.__module__.startswith("grsap."):
                raise
            raise PluginError(self, "schedule", f"fails: {error.problem}", error.remedy) from error
        if not isinstance(found, Schedule):
            raise PluginError(self, "schedule", f"returns {described(found)}", "Return a grsap.data.plan.Schedule")
        wanted = {"num_task": num_task, "num_replay": num_replay, "global_batch_size": global_batch_size}
        for name, value in wanted.items():
            if getattr(found, name) != value:
                raise PluginError(
                    self,
                    "schedule",
                    f"returns {name} {getattr(found, name)!r}, not {value}",
                    f"Return the {name} that was passed",
                )
        if type(found.num_rows) is not int or found.num_rows < 1:
            raise PluginError(
                self, "schedule", f"returns num_rows {found.num_rows!r}", "Return an int of at least 1: int(x)"
            )
        self._check_changes(found)
        return found

    def _check_changes(self, schedule: Schedule) -> None:
        """Check that `with_change` can make the changes of a schedule, so that each step has a share in [0, 1]."""
        made = Schedule(schedule.num_task, schedule.num_replay, schedule.num_rows, schedule.global_batch_size)
        if schedule == made:
            return
        problem = f"returns changes {schedule.changes!r}"
        try:
            for change in schedule.changes:
                made = made.with_change(change.from_step, change.replay_ratio)
        except ConfigError as error:
            problem += f": {error.problem}"
        except (AttributeError, TypeError, ValueError):
            pass  # no changes of a ratio
        if made != schedule:
            raise PluginError(
                self,
                "schedule",
                problem,
                "Make changes by schedule = schedule.with_change(step, ratio) only",
            )

    def checked_order(self, source: Source, pass_index: int, seed: int, records: Sequence[Any]) -> Sequence[int]:
        """Call `task_order` or `replay_order` and check its result.

        Args:
            source: source of the rows.
            pass_index: number of earlier passes.
            seed: seed of the order.
            records: the rows.

        Raises:
            PluginError: the result is no permutation of the rows.
        """
        found: Any
        if source == "task":
            found = self.task_order(pass_index, seed, len(records))
        else:
            found = self.replay_order(pass_index, seed, records)
        try:
            order = [operator.index(each) for each in islice(found, len(records) + 1)]  # a generator may not end
        except TypeError:
            order = None
        if order is None or sorted(order) != list(range(len(records))):
            num = "" if order is None else f"more than {len(records)}" if len(order) > len(records) else len(order)
            what = described(found) if order is None else f"{num} indices, not each of {len(records)} rows once"
            raise PluginError(
                self, f"{source}_order", f"returns {what}", "Return a permutation of range(number of rows)"
            )
        return order


class RatioSampler(Sampler):
    """A fixed ratio, by one of the paper's two controls (arXiv 2603.10243, section on mixing).

    Args:
        replay_ratio: r in [0, 1]. With `total` the share of replay rows among all rows; with `downstream` the number
            of replay rows per task row, so that their share is r / (1 + r).
        control: `total` keeps N rows per epoch: r N replay rows and (1 - r) N task rows. `downstream` keeps N task
            rows and adds round(r N) replay rows.
        num_rows: N; by default the number of task rows.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        replay_ratio: float = 0.1,
        control: Literal["total", "downstream"] = "total",
        num_rows: int | None = None,
    ) -> None:
        check_ratio(replay_ratio)
        if num_rows is not None and num_rows < 1:
            raise ConfigError(f"num_rows is {num_rows}", "Give at least 1, or leave it out for all task rows")
        self.replay_ratio = replay_ratio
        self.control = control
        self.num_rows = num_rows

    def schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Schedule:
        """See `Sampler.schedule`."""
        num_rows = self.num_rows or num_task
        share = self.replay_ratio
        if self.control == "downstream":
            added = round(RatioChange(0, self.replay_ratio).share * num_rows)
            num_rows += added
            share = float(Fraction(added, num_rows))
        return Schedule(num_task, num_replay, num_rows, global_batch_size).with_change(0, share)


class ProportionalSampler(Sampler):
    """All rows of both sources once per epoch; their numbers determine the replay share."""

    def schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Schedule:
        """See `Sampler.schedule`."""
        num_rows = num_task + num_replay
        return Schedule(num_task, num_replay, num_rows, global_batch_size).with_change(0, num_replay / num_rows)


class StratifiedReplaySampler(RatioSampler):
    """A fixed ratio with quotas over difficulty x behaviour x domain in every prefix of a pass's replay rows.

    By default hard : easy is 1 : 1 as in the paper, "when feasible", and behaviours and domains have equal shares
    (behaviour-aware replay: arXiv 2510.21885). Rows without a difficulty replace hard or easy rows once these are
    exhausted. Each pass contains every row once, so rows of other strata fill the quotas that the replay set cannot
    meet; this is reported, or an error with `on_shortfall: error`.

    Args:
        replay_ratio: as in `RatioSampler`.
        control: as in `RatioSampler`.
        num_rows: as in `RatioSampler`.
        hard_share: share of hard rows among replay rows, in [0, 1]; the rest is easy.
        behaviour_shares: share of each behaviour, with sum 1; by default equal.
        on_shortfall: `report` in log and manifest, or `error`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        replay_ratio: float = 0.1,
        control: Literal["total", "downstream"] = "total",
        num_rows: int | None = None,
        hard_share: float = 0.5,
        behaviour_shares: dict[Behaviour, float] | None = None,
        on_shortfall: Literal["report", "error"] = "report",
    ) -> None:
        super().__init__(replay_ratio, control, num_rows)
        if not 0 <= hard_share <= 1:
            raise ConfigError(f"hard_share is {hard_share}", "Give a share in [0, 1]")
        if behaviour_shares is not None:
            total = sum(behaviour_shares.values())
            if min(behaviour_shares.values(), default=-1) < 0 or abs(total - 1) > 1e-9:
                raise ConfigError(f"behaviour_shares sum to {total}", "Give shares in [0, 1] that sum to 1")
        self.hard_share = hard_share
        self.behaviour_shares = behaviour_shares
        self.on_shortfall = on_shortfall

    @property
    def quotas(self) -> Quotas:
        """Shares of difficulty, behaviour and domain."""
        difficulties: dict[str | None, float] = {"hard": self.hard_share, "easy": 1 - self.hard_share}
        behaviours: dict[str | None, float] | None = None
        if self.behaviour_shares is not None:
            behaviours = dict(self.behaviour_shares.items())
        return (difficulties, behaviours, None)

    def replay_order(self, pass_index: int, seed: int, records: Sequence[SafetyRecord]) -> Sequence[int]:
        """See `Sampler.replay_order`."""
        shuffled = super().replay_order(pass_index, seed, records)
        return stratified_order(shuffled, [cell_of(record) for record in records], self.quotas)

    def shortfalls(self, schedule: Schedule, seed: int, records: Sequence[SafetyRecord]) -> list[Shortfall]:
        """Return the quotas that the replay rows of the first epoch (at most one pass) miss by at least one row.

        Raises:
            DataError: a quota is missed and `on_shortfall` is `error`.
        """
        num_rows = min(schedule.replay_before(schedule.steps_per_epoch), len(records))
        cells = [cell_of(record) for record in records]
        drawn = [cells[index] for index in self.replay_order(0, seed, records)[:num_rows]]
        found = find_shortfalls(drawn, cells, self.quotas)
        if found and self.on_shortfall == "error":
            first = found[0]
            raise DataError(
                f"replay quotas cannot be filled: {first.stratum} has {first.num_taken} of {first.num_wanted} rows"
                f" ({len(found)} quotas in all)",
                "Add such rows, lower sampler.replay_ratio, or set sampler.on_shortfall to report",
            )
        return found
