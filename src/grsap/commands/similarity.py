"""`grsap similarity`: how close a replay set comes to the data that a model was aligned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grsap.commands.stage import SETTINGS_OF_SPEED, run_stage

if TYPE_CHECKING:
    from grsap.similarity import Similarity

DEFAULTS = {"embedder": {"class_path": "grsap.embedding.MiniLMEmbedder"}}


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap similarity` and return the exit code."""
    return run_stage(verb, args, _load, DEFAULTS, SETTINGS_OF_SPEED)


def _load() -> type[Similarity]:
    import grsap.embedding  # short class names work for classes that are imported
    import grsap.generation
    import grsap.similarity

    return grsap.similarity.Similarity
