"""`grsap evaluate`: how far models, adapters and runs are safe and able."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grsap.commands.stage import run_stage

if TYPE_CHECKING:
    from grsap.evaluation import Evaluation

MAY_CHANGE = (
    "subjects",
    "benchmarks",
    "judges",
    "sampling",
    "task_sampling",
    "num_samples",
    "margin",
    "reference",
    "surprise",
    "lm_eval_tasks",
    "replay",
    "stages",
    "seed",
    "device",
    "max_batch_tokens",
)
"""All settings: answers and verdicts are kept by what they depend on, so that nothing old passes for something new."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap evaluate` and return the exit code."""
    return run_stage(verb, args, _load, may_change=MAY_CHANGE)


def _load() -> type[Evaluation]:
    import grsap.data  # short class names work for classes that are imported
    import grsap.evaluation
    import grsap.generation
    import grsap.judging

    return grsap.evaluation.Evaluation
