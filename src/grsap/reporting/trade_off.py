"""The section on trade-offs: harmfulness and compliance against task score and over-refusal."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.measurement.catalogue import RATES
from grsap.pages import Element, Estimate, Section, Trade, figure, run_legend, trade_chart
from grsap.reporting.before_after import run_label
from grsap.reporting.run import Run

PICTURES = (
    ("task_score", "harmfulness_rate"),
    ("over_refusal_rate", "harmfulness_rate"),
    ("task_score", "compliance_rate"),
    ("over_refusal_rate", "compliance_rate"),
)


def trade_off(runs: Sequence[Run]) -> Section | None:
    """Return a panel per pair of rates; None if no run has both rates of a pair."""
    panels: list[tuple[str, Element]] = []
    drawn: dict[int, str] = {}
    for x, y in PICTURES:
        trades = [
            Trade(run.name, run.style, _both(run, "before", x, y), after)
            for run in runs
            if (after := _both(run, "after", x, y)) is not None
        ]
        if trades:
            drawn |= {each.style: each.name for each in trades}
            labels = [_label(runs, name) for name in (x, y)]
            title = f"{labels[1]} against {labels[0]}"
            name = f"trade-{x}-{y}".replace("_", "-")
            panels.append(("", trade_chart(name, title, trades, x_label=labels[0], y_label=labels[1])))
    if not panels:
        return None
    caption = (
        "Each run before (hollow) and after (filled) fine-tuning; crosses are 95 % intervals. Lower right is better in "
        "panels with the task score, lower left in panels with over-refusal. A run is better than another only if it "
        "is better on both axes by more than the intervals, and still answers."
    )
    legend = run_legend(drawn, hollow="before", filled="after")
    return Section("trade-off", "Task against safety", [figure(panels, caption, legend)])


def _both(run: Run, moment: str, x: str, y: str) -> tuple[Estimate, Estimate] | None:
    first, second = run.estimate(moment, x), run.estimate(moment, y)
    return None if first is None or second is None else (first, second)


def _label(runs: Sequence[Run], name: str) -> str:
    spec = RATES[name]
    return f"{run_label(runs, spec)}, {spec.unit} ({spec.better} is better)"
