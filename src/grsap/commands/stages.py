"""Table of the stages: settings, runner, defaults, and the settings that may change between two calls."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grsap.commands.stage import Stage, run_stage

SETTINGS_OF_SPEED = (
    "*.init_args.device",
    "*.init_args.max_batch_tokens",
    "*.init_args.engine",
    "*.init_args.server",
    "*.init_args.base_url",
)
"""Settings of models, at any depth, that affect where and how fast answers are generated, but not the answers."""


@dataclass(frozen=True)
class StageVerb:
    """A verb that is a stage.

    Attributes:
        package: package of the settings class; its module `running` has the runner.
        settings: name of the settings class.
        run: name of the runner.
        show_plan: name of the function for `--dry-run`; empty if the verb has none.
        plugins: packages whose classes settings may name by their short names.
        defaults: see `run_stage`.
        may_change: see `run_stage`.
    """

    package: str
    settings: str
    run: str
    show_plan: str = ""
    plugins: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    may_change: tuple[str, ...] = ()


STAGES: dict[str, StageVerb] = {
    "synthesize": StageVerb(
        *("grsap.synthesis", "Synthesis", "run_synthesis"),
        plugins=("grsap.generation",),
        defaults={"elicitation": {"class_path": "grsap.synthesis.AssistantPrefill"}},
        may_change=(*SETTINGS_OF_SPEED, "quota.max_tokens", "quota.max_seconds"),
    ),
    "import": StageVerb("grsap.importing", "Import", "run_import"),
    "curate": StageVerb(
        *("grsap.curation", "Curation", "run_curation"),
        plugins=("grsap.embedding", "grsap.generation", "grsap.judging"),
        may_change=(*SETTINGS_OF_SPEED, "judge_batch_size"),
    ),
    # Answers and verdicts are stored by their content hashes, so that all settings may change.
    "evaluate": StageVerb(
        *("grsap.evaluation", "Evaluation", "run_evaluation"),
        plugins=("grsap.data", "grsap.generation", "grsap.judging"),
        may_change=(
            *("subjects", "benchmarks", "judges", "sampling", "task_sampling", "num_samples", "margin", "max_ratio"),
            *("reference", "surprise", "lm_eval_tasks", "replay", "stages", "seed", "device", "max_batch_tokens"),
        ),
    ),
    "similarity": StageVerb(
        *("grsap.similarity", "Similarity", "run_similarity"),
        plugins=("grsap.embedding", "grsap.generation"),
        defaults={"embedder": {"class_path": "grsap.embedding.MiniLMEmbedder"}},
        may_change=SETTINGS_OF_SPEED,
    ),
    # Each stage of a study checks its own folder.
    "study": StageVerb(
        *("grsap.study", "Study", "run_study"),
        show_plan="show_plan",
        may_change=("stages", "axes", "choices", "goals", "figures", "report", "machine"),
    ),
}


def run(verb: str, args: Sequence[str]) -> int:
    """Run a stage and return the exit code."""
    return run_stage(verb, args, lambda: load(verb), STAGES[verb].defaults, STAGES[verb].may_change)


def load(verb: str) -> Stage:
    """Import a stage and the packages of its plug-ins."""
    stage = STAGES[verb]
    for name in stage.plugins:
        importlib.import_module(name)
    settings = importlib.import_module(stage.package)
    running = importlib.import_module(f"{stage.package}.running")
    plan = getattr(running, stage.show_plan) if stage.show_plan else None
    return Stage(getattr(settings, stage.settings), getattr(running, stage.run), plan)
