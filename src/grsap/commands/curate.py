"""`grsap curate`: a replay set of raw rows."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import SETTINGS_OF_SPEED, Stage, run_stage

MAY_CHANGE = (*SETTINGS_OF_SPEED, "judge_batch_size")
"""Settings that change how fast, and not what comes."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap curate` and return the exit code."""
    return run_stage(verb, args, _load, may_change=MAY_CHANGE)


def _load() -> Stage:
    import grsap.curation.running
    import grsap.embedding
    import grsap.generation
    import grsap.judging  # short class names work for classes that are imported

    return Stage(grsap.curation.Curation, grsap.curation.running.run_curation)
