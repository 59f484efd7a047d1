"""`grsap curate`: a replay set of raw rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grsap.commands.stage import SETTINGS_OF_SPEED, run_stage

if TYPE_CHECKING:
    from grsap.curation import Curation

MAY_CHANGE = (*SETTINGS_OF_SPEED, "judge_batch_size")
"""Settings that change how fast, and not what comes."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap curate` and return the exit code."""
    return run_stage(verb, args, _load, may_change=MAY_CHANGE)


def _load() -> type[Curation]:
    import grsap.curation
    import grsap.embedding
    import grsap.generation
    import grsap.judging  # short class names work for classes that are imported

    return grsap.curation.Curation
