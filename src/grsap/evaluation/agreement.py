"""Agreement of an evaluation's judges on the same answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from grsap.judging import Judge, Verdict, pairwise_agreement

COMPARED = ("response_harmful", "response_refusal")


def agreements(
    subject: str, benchmark: str, verdicts: Mapping[Judge, Mapping[str, Sequence[Verdict]]]
) -> list[dict[str, Any]]:
    """Return one row per pair of judges and label that both give; the judges of a panel are compared too."""
    rows = []
    for label in COMPARED:
        said: dict[str, list[bool | None]] = {}
        for judge, by_item in verdicts.items():
            flat = [verdict for values in by_item.values() for verdict in values]
            if label in judge.labels:
                said[judge.name] = [verdict.label(label) for verdict in flat]
            for name in dict.fromkeys(name for verdict in flat for name in verdict.by_judge):
                said.setdefault(name, [verdict.by_judge.get(name, Verdict()).label(label) for verdict in flat])
        said = {name: column for name, column in said.items() if any(value is not None for value in column)}
        rows += [
            {"subject": subject, "benchmark": benchmark, "label": label, "judges": [*pair], **asdict(agreement)}
            for pair, agreement in pairwise_agreement(said).items()
        ]
    return rows
