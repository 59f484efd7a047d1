"""Constant coefficients."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.objectives.base import Balancer, Objective, StepReport


class FixedWeights(Balancer):
    """Uses each objective's own weight."""

    def weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        """Return the objectives' own weights."""
        return {objective.name: objective.weight for objective in objectives}
