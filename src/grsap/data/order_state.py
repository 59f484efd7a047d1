"""The order of rows in a checkpoint: where the run stands, and what it must find again to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from grsap.data.plan import Schedule
from grsap.errors import ConfigError, DataError


@dataclass(frozen=True)
class OrderState:
    """All that the order of rows hangs on.

    Attributes:
        step: optimizer steps done.
        seed: of the shuffles.
        schedule: sizes, and the changes of the ratio so far.
        fingerprint: of the encoded rows.
        order: hash of the order of the first pass, of task and replay rows: what the sampler makes of them.
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
        """Check that a run that is set up as `now` can go on from this checkpoint.

        Raises:
            DataError: the rows are others.
            ConfigError: seed, batch size or sampler are others.
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
                    "Resume with that, or start a new run",
                )
        if self.order != now.order:
            raise ConfigError(
                "data.sampler brings the rows in another order than at the checkpoint",
                "Resume with the sampler and the quotas that the run began with, or start a new run",
            )

    def _settings(self) -> dict[str, float]:
        return {
            "data.seed": self.seed,
            "data.batching.global_batch_size": self.schedule.global_batch_size,
            "data.sampler: rows of an epoch": self.schedule.num_rows,
            "data.sampler: share of replay rows": self.schedule.changes[0].replay_ratio,
        }
