"""`grsap import`: other projects' safety data as a replay set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grsap.commands.stage import run_stage

if TYPE_CHECKING:
    from grsap.importing import Import


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap import` and return the exit code."""
    return run_stage(verb, args, _load)


def _load() -> type[Import]:
    from grsap.importing import Import

    return Import
