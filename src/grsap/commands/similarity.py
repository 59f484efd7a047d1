"""`grsap similarity`: how close a replay set comes to the data that a model was aligned on."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.commands.stage import SETTINGS_OF_SPEED, Stage, run_stage

DEFAULTS = {"embedder": {"class_path": "grsap.embedding.MiniLMEmbedder"}}


def run(verb: str, args: Sequence[str]) -> int:
    """Run `grsap similarity` and return the exit code."""
    return run_stage(verb, args, _load, DEFAULTS, SETTINGS_OF_SPEED)


def _load() -> Stage:
    import grsap.embedding  # short class names work for classes that are imported
    import grsap.generation
    import grsap.similarity.running

    return Stage(grsap.similarity.Similarity, grsap.similarity.running.run_similarity)
