"""Which rows the objectives learn from."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn

from grsap.data.plan import Schedule
from grsap.errors import ConfigError
from grsap.objectives import Objective
from grsap.records import Source


def learned_sources(objectives: Sequence[Objective]) -> set[Source]:
    """The sources whose rows are learned: those that an objective reads with a weight above 0."""
    return {objective.source for objective in objectives if objective.weight > 0}


def check_sources(objectives: Sequence[Objective], schedule: Schedule) -> None:
    """See that rows which stand in the steps are learned from; warn of those whose only objectives have the weight 0.

    Raises:
        ConfigError: no objective reads the rows of a source that has some in each epoch.
    """
    num_replay = schedule.replay_before(schedule.steps_per_epoch)
    for source, num_rows in (("task", schedule.num_rows - num_replay), ("replay", num_replay)):
        if not num_rows or source in learned_sources(objectives):
            continue
        problem = f"an epoch has {num_rows} {source} rows, and no objective learns from them"
        if any(objective.source == source for objective in objectives):
            rank_zero_warn(f"{problem}: the weight of each that reads them is 0.")
            continue
        told = ", ".join(f"{objective.name} (source {objective.source})" for objective in objectives)
        without = "set data.replay to null and" if source == "replay" else "set"
        raise ConfigError(
            f"{problem}; model.objectives: {told}",
            f"Add an objective with the source {source}, or {without} replay_ratio to {0 if source == 'replay' else 1}",
        )
