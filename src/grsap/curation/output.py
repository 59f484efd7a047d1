"""The files of a curation. Each raw row is in exactly one of `replay.jsonl` and `rejected.jsonl`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from grsap.appending import json_line
from grsap.curation.ledger import KEPT, Ledger
from grsap.curation.steps import UNLABELLED
from grsap.files import atomic_writer, hash_file

REPLAY = "replay.jsonl"
REJECTED = "rejected.jsonl"
MANIFEST = "manifest.json"
TEXT_MODE = 0o600
"""Mode of files with text: readable by their owner only."""


def write_rows(folder: Path, ledger: Ledger, step_names: list[str]) -> dict[str, dict[str, Any]]:
    """Write `replay.jsonl` and `rejected.jsonl`, rows in the order of the input.

    A rejected row is the raw row with its labels and `rejection`: filter, reason, scores, and the id of the row that it
    was rejected for.

    Returns:
        `{num_rows, hash}` by file name.

    Raises:
        RunFolderError: the folder cannot be written; existing files are unchanged.
    """
    counts: Counter[str] = Counter()
    with (
        atomic_writer(folder / REPLAY, mode=TEXT_MODE) as replay,
        atomic_writer(folder / REJECTED, mode=TEXT_MODE) as rejected,
    ):
        for number in ledger.raw.file_order.tolist():
            if ledger.rejected_by[number] == KEPT:
                replay.write(json_line(ledger.record(number).to_dict()))
                counts[REPLAY] += 1
            else:
                rejected.write(json_line(_rejected(ledger, number, step_names)))
                counts[REJECTED] += 1
    return {name: {"num_rows": counts[name], "hash": hash_file(folder / name)} for name in (REPLAY, REJECTED)}


def behaviours_of(ledger: Ledger) -> list[str]:
    """Return each row's behaviour after the last step."""
    return [ledger.label(number, "behaviour") or UNLABELLED for number in range(len(ledger.raw))]


def _rejected(ledger: Ledger, number: int, step_names: list[str]) -> dict[str, Any]:
    raw = ledger.raw.raw(number)
    rejection = {
        "filter": step_names[ledger.rejected_by[number]],
        "reason": ledger.reason(number),
        "scores": ledger.scores(number),
        "related_id": ledger.related_id(number),
    }
    return {**raw, **ledger.labels(number), "rejection": rejection}
