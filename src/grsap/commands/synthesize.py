"""`grsap synthesize`: an aligned model writes safety queries and answers them."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import SETTINGS_OF_SPEED, Stage, run_stage

DEFAULTS = {"elicitation": {"class_path": "grsap.synthesis.AssistantPrefill"}}

MAY_CHANGE = (*SETTINGS_OF_SPEED, "quota.max_tokens", "quota.max_seconds")
"""Settings that change how fast or how far, and not what comes."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap synthesize` and return the exit code."""
    return run_stage(verb, args, _load, DEFAULTS, MAY_CHANGE)


def _load() -> Stage:
    import grsap.generation  # short class names work for classes that are imported
    import grsap.synthesis.running

    return Stage(grsap.synthesis.Synthesis, grsap.synthesis.running.run_synthesis)
