"""The order of rows in a checkpoint: the run's position, and what must be unchanged on resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from grsap.data.plan import Schedule
from grsap.errors import ConfigError, DataError


@dataclass(frozen=True)
class OrderState:
    """State that determines the order of rows.

    Attributes:
        step: number of finished optimizer steps.
        seed: seed of the shuffles.
        schedule: numbers of rows, and all changes of the ratio.
        fingerprint: hash of the encoded rows.
        order: hash of the first pass's order of task and replay rows.
    """

    step: int
    seed: int
    schedule: Schedule
    fingerprint: str
    order: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {**asdict(self), "schedule": self.schedule.to_state()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> OrderState:
        """Read what `to_dict` wrote."""
        schedule = Schedule.from_state(state["schedule"])
        return cls(state["step"], state["seed"], schedule, state["fingerprint"], state["order"])

    def check_continues(self, now: OrderState) -> None:
        """Check that a run with state `now` can resume from this checkpoint.

        Raises:
            DataError: the rows differ.
            ConfigError: seed, batch size or sampler differ.
        """
        if self.fingerprint != now.fingerprint:
            raise DataError(
                f"the data set changed since the checkpoint (fingerprint {now.fingerprint}, then {self.fingerprint})",
                "Resume with the same task and replay files, chat template and encoding settings, or start a new run",
            )
        for (key, then), found in zip(self._settings().items(), now._settings().values(), strict=True):
            if then != found:
                raise ConfigError(
                    f"{key} is {found}, but the checkpoint was made with {then}",
                    "Resume with that value, or start a new run",
                )
        if self.order != now.order:
            raise ConfigError(
                "data.sampler gives another order of rows than at the checkpoint",
                "Resume with the sampler and quotas of the original run, or start a new run",
            )

    def _settings(self) -> dict[str, float]:
        return {
            "data.seed": self.seed,
            "data.batching.global_batch_size": self.schedule.global_batch_size,
            "data.sampler: rows of an epoch": self.schedule.num_rows,
            "data.sampler: share of replay rows": self.schedule.changes[0].replay_ratio,
        }
