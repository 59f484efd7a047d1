"""Overlap of benchmarks with the replay sets that subjects were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grsap.data.replay import ReplayDataModule
from grsap.errors import UserError
from grsap.evaluation.prompts import Question
from grsap.evaluation.subjects import Say
from grsap.text.word_runs import NUM_WORDS, word_runs


def overlaps(paths: Sequence[str], questions: Sequence[Question], say: Say) -> list[dict[str, Any]]:
    """Return one row per replay set and benchmark: prompts that share 8 successive words with a user's turn of the set.

    A prompt of fewer words counts if it equals such a turn. Numbers only; no text.

    Args:
        paths: replay sets.
        questions: benchmarks.
        say: called with a message for each set that can no longer be read.
    """
    rows = []
    for path in dict.fromkeys(paths):
        replay = ReplayDataModule(path)
        try:
            replay.setup("fit")
        except UserError as error:
            say(f"Overlap with {path} is not known: {error}")
            continue
        of_rows = [_runs_of(record.messages) for record in replay.records]
        known = frozenset().union(*of_rows)
        for question in questions:
            of_items = [_runs_of(item.messages) for item in question.items]
            asked = frozenset().union(*of_items)
            rows.append(
                {
                    "replay": path,
                    "replay_hash": replay.file_hash,
                    "benchmark": question.benchmark.name,
                    "num_words": NUM_WORDS,
                    "num_items": len(of_items),
                    "num_items_found": sum(not known.isdisjoint(runs) for runs in of_items),
                    "num_rows": len(of_rows),
                    "num_rows_found": sum(not asked.isdisjoint(runs) for runs in of_rows),
                }
            )
    return rows


def _runs_of(messages: Sequence[Any]) -> frozenset[int]:
    """Return the word runs of all turns of the user."""
    return frozenset(run for message in messages if message["role"] == "user" for run in word_runs(message["content"]))
