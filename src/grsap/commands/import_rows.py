"""`grsap import`: other projects' safety data as a replay set."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import Stage, run_stage


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap import` and return the exit code."""
    return run_stage(verb, args, _load)


def _load() -> Stage:
    from grsap.importing import Import
    from grsap.importing.running import run_import

    return Stage(Import, run_import)
