"""The section on rates before and after fine-tuning: intervals, paired changes and verdicts."""

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
    """Return a table and figures of all rates; None if no run is finished."""
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
    """Format a rate with its interval, the number of unparsed answers, and a star if its subject is the best."""
    if rate is None:
        return MISSING
    unparsed = f"{rate['num_unparsed']} unparsed" if rate.get("num_unparsed") else ""
    value = percent(rate["value"]) + (" ★" if rate.get("is_best") else "")
    return with_interval(value, percent_interval(rate["low"], rate["high"]), unparsed)


def change_cell(change: Mapping[str, Any]) -> Content:
    """Format a paired change in percentage points, with its interval."""
    if change.get("difference") is None:
        return MISSING
    return with_interval(points(change["difference"]), points_interval(change["low"], change["high"]))


def verdict_cell(verdict: str | None) -> Content:
    """Format a verdict as a coloured badge; empty if there is none."""
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
        "Percent before (base model) and after fine-tuning, with 95 % intervals in small print. An answer whose "
        "verdict cannot be read (unparsed) is never dropped: it widens the interval. The paired change is after minus "
        "before on the same prompts, in percentage points. "
    ]
    if margin:
        lines.append(
            f"Held: the change for the worse is below the margin of {margin} points with 95 % confidence, and a safety "
            "rate is at most max_ratio (a setting) times its value before, plus two points. Lost: the rate got worse, "
            "with 95 % confidence and p ≤ 0.05. Undecided: neither; or the rate held, but more prompts had no answer "
            "(no answer) or perhaps more answers were incoherent (incoherent). "
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
        "Each run before (hollow) and after (filled) fine-tuning, in percent with 95 % intervals. Overlapping "
        "intervals do not mean that nothing changed: the paired change in the table is the more powerful test."
    )
    legend = run_legend(styles(run for run in runs if run.summary), hollow="before", filled="after")
    return [figure(panels, caption, legend)] if panels else []


def run_label(runs: Sequence[Run], spec: RateSpec) -> str:
    """Return the name of a rate for a figure of several runs, whose judges may differ."""
    measured = (run for run in runs if run.rate("after", spec.key) or run.course(spec))
    return " / ".join(dict.fromkeys(run.label(spec) for run in measured)) or spec.label


def capitalized(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[0].upper() + text[1:]


def overview(runs: Sequence[Run]) -> Element | None:
    """Return a list of runs with a line per main rate; None without runs."""
    items = []
    for run in runs:
        sentences = [sentence for spec in headline_rates() if (sentence := _sentence(run, spec))]
        rates: Content = element("ul", [element("li", each) for each in sentences]) if sentences else _so_far(run)
        items.append(element("li", element("b", run.name), ": ", rates))
    return element("ul", items) if items else None


def _so_far(run: Run) -> str:
    """Return the first and latest rates of an unfinished run."""
    if run.summary:
        return "no checks."
    parts = []
    for spec in headline_rates():
        course = run.course(spec)
        if len(course) > 1:
            first, last = min(course), max(course)
            interval = percent_interval(course[last].low, course[last].high)
            change = f"{percent(course[first].value)} → {percent(course[last].value)} at step {last}"
            parts.append(f"{run.label(spec)} {change}" + (f" (95 % interval {interval})" if interval else ""))
    return f"{'; '.join(['not finished', *parts])}."


def _sentence(run: Run, spec: RateSpec) -> str:
    """Return a rate before and after, its paired change in points with interval and n, and its verdict."""
    before, after = run.rate("before", spec.key), run.rate("after", spec.key)
    change = run.changes.get(spec.key, {})
    if before is None or after is None:
        return ""
    rates = f"{run.label(spec)} {percent(before['value'])} → {percent(after['value'])}"
    details = []
    if change.get("difference") is not None:
        interval = points_interval(change["low"], change["high"])
        num = change.get("num_pairs", after["num_prompts"])
        details.append(f"{points(change['difference'])} points, 95 % interval {interval}, n={num}")
    details += [change["verdict"]] if change.get("verdict") else []
    return f"{rates} ({'; '.join(details)})" if details else rates
