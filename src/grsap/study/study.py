"""Settings of a study: stages that depend on each other, and figures from their results beside published ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from grsap.errors import ConfigError
from grsap.study.figures import Figure
from grsap.study.filling import Filler
from grsap.study.machine import Machine
from grsap.study.plan import PlannedStage, StageSpec, plan_stages

MACHINE = Machine()


@dataclass(frozen=True)
class Study:
    """Run the missing stages, each with its verb and in its own folder, and report figures.

    Args:
        stages: see `StageSpec`. Placeholders are replaced: `{model}` by a choice, `{model.path}` by a detail of the
            choice, `{folder}` by the study's folder.
        axes: what stages differ in: axis -> choices, in order. Stages with other axes are skipped.
        choices: details of choices: axis -> choice -> name -> value.
        goals: names of stages to run, with all stages that they need; by default all.
        figures: numbers to report at the end, beside published ones.
        report: patterns of names of stages that the page at the end shows; by default no page.
        machine: for the estimates of `--dry-run`.
    """

    stages: list[StageSpec]
    axes: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    goals: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    machine: Machine = MACHINE

    def planned(self, folder: Path) -> list[PlannedStage]:
        """Return the stages to run, in order, for a study in this folder.

        Raises:
            ConfigError: stages, axes or choices contradict each other.
        """
        return plan_stages(self.stages, Filler(str(folder), self.axes, self.choices), self.goals)

    def check(self) -> None:
        """Check the study before its first stage starts.

        Raises:
            ConfigError: stages, axes, choices, figures or report contradict each other.
        """
        if not self.stages:
            raise ConfigError("stages is empty", "Give at least one")
        names = [stage.name for stage in self.planned(Path("runs/study"))]
        # Only the first part of a pattern is compared: with fewer choices, a study may have figures without a value.
        kinds = {stage.name.partition("/")[0] for stage in self.stages}
        for figure in self.figures:
            if not any("{" in kind or fnmatchcase(kind, figure.stages.partition("/")[0]) for kind in kinds):
                raise ConfigError(
                    f"figure {figure.name}: no stage is called {figure.stages}",
                    f"Stages are {', '.join(sorted(kinds))}",
                )
        for pattern in self.report:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(f"report: no stage is called {pattern}", f"Stages are {', '.join(names[:8])}")
