"""The tables that a study prints: its plan and its figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap.progress import duration
from grsap.study.estimate import StageEstimate
from grsap.study.figures import Figure
from grsap.study.plan import PlannedStage


def plan_table(
    stages: Sequence[PlannedStage], estimates: Sequence[StageEstimate | None], done: Collection[str]
) -> Table:
    """Make a table with a row per stage, and the sums over the stages that are not done."""
    table = _table("Plan", "stage", "verb", "tokens", "time", "GiB", "state")
    to_do = []
    for stage, estimate in zip(stages, estimates, strict=True):
        state = "done" if stage.name in done else "to do"
        if estimate is None:
            table.add_row(Text(stage.name), stage.verb, "-", "-", "-", state)
            continue
        if state != "done":
            to_do.append(estimate)
        time = duration(3600 * estimate.hours)
        table.add_row(
            Text(stage.name), stage.verb, f"{estimate.num_tokens:,}", time, f"{estimate.memory_gib:.1f}", state
        )
    if to_do:
        hours, tokens = sum(each.hours for each in to_do), sum(each.num_tokens for each in to_do)
        memory = max(each.memory_gib for each in to_do)
        table.add_row("to do in all", "", f"{tokens:,}", duration(3600 * hours), f"{memory:.1f}", "")
    return table


def figures_table(found: Sequence[tuple[Figure, Mapping[str, Any]]]) -> Table:
    """Make a table with a row per figure: published, measured with its interval, and whether that covers the former."""
    table = _table("Figures", "figure", "published", "ours", "95 %", "over", "holds it", "source")
    for figure, ours in found:
        published = "-" if figure.published is None else f"{figure.published:.4f}"
        if ours["value"] is None:
            measured = ("-", "not measured", "-", "-")
        else:
            covers = {True: "yes", False: "no", None: "-"}[ours["covers_published"]]
            measured = (f"{ours['value']:.4f}", f"{ours['low']:.4f} to {ours['high']:.4f}", ours["unit"], covers)
        table.add_row(Text(figure.name), published, *measured, Text(figure.source))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        justify = "right" if name in ("tokens", "time", "GiB", "published", "ours") else "left"
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table
