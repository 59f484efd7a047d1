"""Expands the stages of a study over its axes, and orders them so that each follows those that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from grsap.embedded import resolve
from grsap.errors import ConfigError
from grsap.files import user_path
from grsap.study.filling import Filler

VerbName = Literal["synthesize", "import", "curate", "fit", "evaluate", "similarity"]

SUMMARIES: Mapping[VerbName, str] = {
    "synthesize": "manifest.json",
    "import": "manifest.json",
    "curate": "manifest.json",
    "fit": "summary.json",
    "evaluate": "evaluation.json",
    "similarity": "similarity.json",
}
"""The file that a verb writes when it is done."""


@dataclass(frozen=True)
class StageSpec:
    """A stage, or several: `fit/{model}/{task}` is one for each model and task.

    Args:
        name: name of the stage and of its folder in the study's folder. Its placeholders are the stage's axes.
        verb: command of grsap.
        configs: files for `--config`; later ones override earlier ones.
        settings: settings that override those of the files.
        needs: names of stages that must be done before. One with another axis means all choices on that axis.
        cost: amount of work, for the plan: see `Cost`.
    """

    name: str
    verb: VerbName
    configs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedStage:
    """One stage without placeholders.

    Attributes:
        name, verb, configs, settings, needs, cost: as in the spec.
        folder: folder of its results.
    """

    name: str
    verb: VerbName
    folder: Path
    configs: tuple[str, ...]
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    cost: Mapping[str, Any]

    @property
    def summary(self) -> Path:
        """The file that exists when the stage is done."""
        return self.folder / SUMMARIES[self.verb]


def plan_stages(specs: Sequence[StageSpec], filler: Filler, goals: Sequence[str]) -> list[PlannedStage]:
    """Return the goals and the stages that they need, each after those that it needs, else in the order of the specs.

    Args:
        specs: all stages; those whose name has an axis without choices are skipped.
        filler: replaces placeholders.
        goals: names of stages, with placeholders; empty for all stages.

    Raises:
        ConfigError: a name occurs twice or is a folder inside another stage's; a needed stage or a config does not
            exist; stages need each other in a circle.
    """
    filler.check()
    stages: dict[str, PlannedStage] = {}
    for spec in specs:
        if filler.lacks_axis(spec.name):
            continue
        for binding in filler.bindings(spec.name, {}):
            stage = _planned(spec, filler, binding)
            if stage.name in stages:
                raise ConfigError(f"two stages are called {stage.name!r}", "Put each of its axes into its name")
            stages[stage.name] = stage
    _check_folders(stages)
    wanted = filler.fill(list(goals), {}) or list(stages)
    order: dict[str, PlannedStage] = {}
    for name in [each for each in stages if each in wanted] + [each for each in wanted if each not in stages]:
        _add(name, stages, order, ("the goals",))
    return list(order.values())


def _planned(spec: StageSpec, filler: Filler, binding: Mapping[str, str]) -> PlannedStage:
    name = str(filler.fill(spec.name, binding))
    if spec.verb not in SUMMARIES:
        raise ConfigError(f"stage {name}: a study has no verb {spec.verb!r}", f"Verbs are {', '.join(SUMMARIES)}")
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or any(part.startswith(".") for part in parts):
        raise ConfigError(f"stage {name!r}: the name is not a relative folder", "Give words with / between them")
    configs = tuple(str(each) for each in filler.fill(spec.configs, binding))
    for config in configs:
        if not resolve(config).is_file():
            raise ConfigError(
                f"stage {name}: there is no config {config}", "Paths are relative to the working directory"
            )
    return PlannedStage(
        name=name,
        verb=spec.verb,
        folder=user_path(Path(filler.folder) / name),
        configs=configs,
        settings=filler.fill(spec.settings, binding),
        needs=tuple(filler.fill(spec.needs, binding)),
        cost=filler.fill(spec.cost, binding),
    )


def _check_folders(stages: Mapping[str, PlannedStage]) -> None:
    for name in stages:
        inside = [str(parent) for parent in Path(name).parents if str(parent) in stages]
        if inside:
            raise ConfigError(f"stage {name} is in the folder of stage {inside[0]}", "Rename one of them")


def _add(name: str, stages: Mapping[str, PlannedStage], order: dict[str, PlannedStage], trail: tuple[str, ...]) -> None:
    if name in order:
        return
    if name in trail:
        raise ConfigError(f"stages need each other in a circle: {' -> '.join([*trail[1:], name])}", "Break it")
    if name not in stages:
        known = ", ".join(list(stages)[:8]) + (" ..." if len(stages) > 8 else "")
        raise ConfigError(f"{trail[-1]} needs the stage {name!r}, which does not exist", f"Stages are {known}")
    for need in stages[name].needs:
        _add(need, stages, order, (*trail, name))
    order[name] = stages[name]
