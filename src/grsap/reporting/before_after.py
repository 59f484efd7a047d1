"""Rates before and after fine-tuning, with intervals, the paired change and the verdict on safety."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from grsap.measurement.catalogue import RateSpec
from grsap.pages import (
    Change,
    Content,
    Element,
    Section,
    badge,
    change_chart,
    element,
    figure,
    run_legend,
    table,
    with_interval,
)
from grsap.pages.numbers import MISSING, count, percent, percent_interval, points, points_interval
from grsap.reporting.outcomes import Find, outcome_bars
from grsap.reporting.run import Run, headline_rates, main_rates, styles

KINDS = {"held": "good", "gained": "good", "lost": "bad", "undecided": "open"}


def before_after(runs: Sequence[Run]) -> Section | None:
    """A table of all rates and a figure of them; None if no run is finished."""
    rows = [
        _row(run, spec)
        for spec in main_rates()
        for run in runs
        if run.rate("before", spec.key) is not None or run.rate("after", spec.key) is not None
    ]
    if not rows:
        return None
    headings = ["rate", "run", "prompts", "before", "after", "paired change", "verdict"]
    return Section(
        "rates",
        "Before and after",
        [table(_caption(runs), headings, rows, text_columns=2), *outcome_bars("outcomes", _bars(runs)), *_figure(runs)],
    )


def rate_cell(rate: Mapping[str, Any] | None) -> Content:
    """A rate with its interval, a star for the best subject's, and the number of unparsed answers."""
    if rate is None:
        return MISSING
    unparsed = f"{rate['num_unparsed']} unparsed" if rate.get("num_unparsed") else ""
    value = percent(rate["value"]) + (" ★" if rate.get("is_best") else "")
    return with_interval(value, percent_interval(rate["low"], rate["high"]), unparsed)


def change_cell(change: Mapping[str, Any]) -> Content:
    """A paired change in points with its interval."""
    if change.get("difference") is None:
        return MISSING
    return with_interval(points(change["difference"]), points_interval(change["low"], change["high"]))


def verdict_cell(verdict: str | None) -> Content:
    """A verdict as a coloured badge; empty if there is none."""
    return badge(verdict, KINDS.get(verdict, "open")) if verdict else ""


def _row(run: Run, spec: RateSpec) -> list[Content]:
    before, after = run.rate("before", spec.key), run.rate("after", spec.key)
    change = run.changes.get(spec.key, {})
    num_prompts = (after or before or {})["num_prompts"]
    verdict: list[Content] = [verdict_cell(change.get("verdict"))]
    if change.get("verdict_reason"):
        verdict += [element("br"), element("small", str(change["verdict_reason"]).replace("_", " "))]
    cells = [count(num_prompts), rate_cell(before), rate_cell(after), change_cell(change), verdict]
    return [run.label(spec), run.name, *cells]


def _caption(runs: Sequence[Run]) -> list[Content]:
    changes = [change for run in runs for change in run.changes.values()]
    margins = sorted({change["margin"] for change in changes if change.get("margin") is not None})
    margin = " or ".join(f"{100 * each:g}" for each in margins)
    judges = sorted({run.judge for run in runs if run.judge})
    lines = [
        "Percent, with 95 % intervals in small print. Unparsed answers are never dropped: they widen the interval. The "
        "change is after minus before on the same prompts, in percentage points. "
    ]
    if margin:
        lines.append(
            f"Held: the change for the worse is below the margin of {margin} points with 95 % confidence, and the "
            "rate at most `max_ratio` times what it was, and two points more. Lost: it is above 0 with 95 % confidence "
            "and p <= .05. Undecided: neither, or (no answer) the model stopped answering instead. "
        )
    if judges:
        lines.append(f"Judged by {', '.join(judges)}. ")
    return [*lines, *_baselines(runs)]


def _baselines(runs: Sequence[Run]) -> list[str]:
    lines = []
    for run in runs:
        majority = run.summary.get("majority_baseline")
        unigram = (run.summary.get("unigram") or {}).get("pair_accuracy")
        if majority:
            lines.append(f"{run.name}: the most frequent answer of the task would score {percent(majority)}. ")
        if unigram is not None:
            lines.append(f"{run.name}: a bag-of-words classifier has a pair accuracy of {percent(unigram)}. ")
    texts = {line.partition(": ")[2] for line in lines}
    if len(texts) == 1 and len(lines) > 1:  # the same for all runs
        return [capitalized(texts.pop())]
    return lines


def _bars(runs: Sequence[Run]) -> Iterator[tuple[str, Find]]:
    for run in runs:
        for moment in ("before", "after"):
            yield f"{run.name}, {moment}", partial(run.rate, moment)


def _figure(runs: Sequence[Run]) -> list[Element]:
    panels = []
    for spec in main_rates():
        changes = [
            Change(run.name, run.style, before, after)
            for run in runs
            for before, after in [(run.estimate("before", spec.key), run.estimate("after", spec.key))]
            if before is not None or after is not None
        ]
        if changes:
            heading = f"{capitalized(run_label(runs, spec))} ({spec.better} is better)"
            panels.append((heading, change_chart(f"change-{spec.key.replace('_', '-')}", heading, changes)))
    caption = (
        "Each run before (hollow) and after (filled) fine-tuning, with 95 % intervals. Overlapping intervals do not "
        "mean that nothing changed: the paired change in the table is the more powerful test."
    )
    legend = run_legend(styles(run for run in runs if run.summary), hollow="before", filled="after")
    return [figure(panels, caption, legend)] if panels else []


def run_label(runs: Sequence[Run], spec: RateSpec) -> str:
    """The name of a rate on a figure of several runs, whose judges may differ."""
    measured = (run for run in runs if run.rate("after", spec.key) or run.course(spec))
    return " / ".join(dict.fromkeys(run.label(spec) for run in measured)) or spec.label


def capitalized(text: str) -> str:
    """The same with a capital at its beginning."""
    return text[0].upper() + text[1:]


def overview(runs: Sequence[Run]) -> Element | None:
    """One sentence per run with its main rates."""
    items = []
    for run in runs:
        parts = [_sentence(run, spec) for spec in headline_rates()]
        told = "; ".join(part for part in parts if part) or _so_far(run)
        items.append(element("li", element("b", run.name), f": {told}."))
    return element("ul", items) if items else None


def _so_far(run: Run) -> str:
    """The latest rates of an unfinished run."""
    if run.summary:
        return "no checks"
    parts = []
    for spec in headline_rates():
        course = run.course(spec)
        if len(course) > 1:
            first, last = min(course), max(course)
            told = f"{percent(course[first].value)} → {percent(course[last].value)} at step {last}"
            parts.append(f"{run.label(spec)} {told}")
    return "; ".join(["not finished", *parts])


def _sentence(run: Run, spec: RateSpec) -> str:
    before, after = run.rate("before", spec.key), run.rate("after", spec.key)
    verdict = run.changes.get(spec.key, {}).get("verdict")
    if before is None or after is None:
        return ""
    said = f"{run.label(spec)} {percent(before['value'])} → {percent(after['value'])}"
    return f"{said} ({verdict})" if verdict else said
