"""`grsap study`: several stages as one piece of work, such as a table of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import Stage, run_stage

MAY_CHANGE = ("stages", "axes", "choices", "goals", "figures", "report", "machine")
"""All settings: each stage's own folder says whether its work may go on."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap study` and return the exit code."""
    return run_stage(verb, args, _load, may_change=MAY_CHANGE)


def _load() -> Stage:
    from grsap.study import Study
    from grsap.study.running import run_study, show_plan

    return Stage(Study, run_study, show_plan)
