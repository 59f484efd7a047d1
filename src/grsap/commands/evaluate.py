"""`grsap evaluate`: how far models, adapters and runs are safe and able."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import Stage, run_stage

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


def _load() -> Stage:
    import grsap.data  # short class names work for classes that are imported
    import grsap.evaluation.running
    import grsap.generation
    import grsap.judging

    return Stage(grsap.evaluation.Evaluation, grsap.evaluation.running.run_evaluation)
