"""`grsap similarity`: how close a replay set comes to the data that a model was aligned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grsap.commands.stage import run_stage

if TYPE_CHECKING:
    from grsap.similarity import Similarity

DEFAULTS = {"embedder": {"class_path": "grsap.embedding.MiniLMEmbedder"}}

MAY_CHANGE = (
    "model.init_args.device",
    "model.init_args.max_batch_tokens",
)
"""Settings that change how fast, and not what comes."""


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap similarity` and return the exit code."""
    return run_stage(verb, args, _load, DEFAULTS, MAY_CHANGE)


def _load() -> type[Similarity]:
    import grsap.embedding  # short class names work for classes that are imported
    import grsap.generation
    import grsap.similarity

    return grsap.similarity.Similarity
