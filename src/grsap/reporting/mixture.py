"""The section on the mixture of task and replay rows, as planned and as seen in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grsap.pages import Content, Section, figure, part_legend, share_chart, table
from grsap.pages.numbers import MISSING, count, percent
from grsap.reporting.run import Run

SOURCES = ("task", "replay")


def mixture(runs: Sequence[Run]) -> Section | None:
    """Return a figure of the shares and a table of the counts; None if no run recorded its mixture."""
    bars: list[tuple[str, Mapping[str, float]]] = []
    rows: list[list[Content]] = []
    for run in runs:
        data = run.manifest.get("data") or {}
        if not data:
            continue
        share = float(data["replay_share"])
        bars.append((f"{run.name}: planned", {"task": 1 - share, "replay": share}))
        seen = {source: run.latest(f"mixture/num_rows/{source}") or 0 for source in SOURCES}
        tokens = {source: run.latest(f"mixture/num_targets/{source}") or 0 for source in SOURCES}
        if sum(seen.values()):
            bars.append((f"{run.name}: rows seen", seen))
            bars.append((f"{run.name}: supervised tokens seen", tokens))
        for source in SOURCES:
            rows.append([run.name, source, *_cells(data, source, share, seen, tokens)])
    if not bars:
        return None
    caption = (
        "Shares of task and replay in percent: of the rows planned per epoch, of the rows seen in training, and of the "
        "supervised tokens seen. The last two differ if replay rows are longer or shorter than task rows."
    )
    headings = [
        "run",
        "source",
        "available rows",
        "planned rows per epoch",
        "rows seen",
        "supervised tokens seen",
        "share of tokens seen",
    ]
    content = [
        figure(
            [("", share_chart("mixture", "mixture as planned and as seen", bars, SOURCES))],
            caption,
            part_legend(SOURCES),
        ),
        table(_notes(runs), headings, rows, text_columns=2),
    ]
    return Section("mixture", "Mixture", content)


def _cells(
    data: Mapping[str, Any], source: str, share: float, seen: Mapping[str, float], tokens: Mapping[str, float]
) -> list[Content]:
    at_hand = (data.get("sources") or {}).get(source) or {}
    num_planned = data["replay_rows_per_epoch"]
    if source == "task":
        num_planned = data["rows_per_epoch"] - num_planned
    total = sum(tokens.values())
    return [
        count(at_hand.get("num_kept", 0)),
        count(num_planned),
        count(seen[source]) if sum(seen.values()) else MISSING,
        count(tokens[source]) if total else MISSING,
        percent(tokens[source] / total) if total else MISSING,
    ]


def _notes(runs: Sequence[Run]) -> str:
    notes = ["Numbers of rows and supervised tokens by source. A row counts each time it is seen."]
    for run in runs:
        data = run.manifest.get("data") or {}
        excluded = {reason: num for reason, num in (data.get("num_excluded_replay") or {}).items() if num}
        if excluded:
            reasons = ", ".join(f"{reason} {num}" for reason, num in excluded.items())
            notes.append(f"{run.name}: replay rows left out, by reason: {reasons}.")
        for each in data.get("shortfalls") or []:
            notes.append(
                f"{run.name}: the quota of {each['stratum']} needs {each['num_wanted']} replay rows, but there are "
                f"{each['num_taken']}; other replay rows fill it."
            )
        changes = data.get("ratio_changes") or []
        if len(changes) > 1:
            ratios = ", ".join(f"{change['replay_ratio']:g} from step {change['from_step']}" for change in changes)
            notes.append(f"{run.name}: share of replay rows during training: {ratios}.")
    return " ".join(notes)
