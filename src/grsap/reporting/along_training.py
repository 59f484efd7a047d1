"""Sections on the course of training: the main rates at each check, and the loss of each objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grsap.pages import Element, Estimate, Section, Series, figure, line_chart, run_legend
from grsap.reporting.before_after import capitalized, run_label
from grsap.reporting.run import Run, headline_rates, styles

LOSS = "train/loss/"
MAX_POINTS = 240
"""Maximum number of points per loss curve; neighbouring steps of longer curves are averaged."""


def along_training(runs: Sequence[Run]) -> Section | None:
    """Return a section with a panel per rate and a line per run; None if no run was checked at two steps or more."""
    panels: list[tuple[str, Element]] = []
    drawn: dict[int, str] = {}
    for spec in headline_rates():
        series = [
            Series(run.name, run.style, list(course), list(course.values()))
            for run in runs
            if len(course := run.course(spec)) > 1
        ]
        if series:
            drawn |= {each.style: each.name for each in series}
            heading = capitalized(run_label(runs, spec))
            panels.append((heading, line_chart(f"course-{spec.key.replace('_', '-')}", heading, series)))
    if not panels:
        return None
    caption = (
        "Each point is a check during training, in percent; all checks of a run ask the same prompts. Bands are 95 % "
        "intervals of single checks. Lines only connect the points: nothing was measured between them."
    )
    return Section("training", "Along training", [figure(panels, caption, run_legend(drawn))])


def losses(runs: Sequence[Run]) -> Section | None:
    """Return a section with a panel per objective and a line per run; None if no loss was logged."""
    names = dict.fromkeys(key for run in runs for key in sorted(run.metrics) if key.startswith(LOSS))
    panels: list[tuple[str, Element]] = []
    for number, key in enumerate(names):
        # Older runs logged a loss of 0 where a source had no rows: leave those curves out.
        series = [_curve(run, run.metrics[key]) for run in runs if any(run.metrics.get(key, {}).values())]
        if not series:
            continue
        heading = key.removeprefix(LOSS).replace("_", " ")
        panels.append((heading, line_chart(f"loss-{number}", f"loss of {heading}", series, shares=False)))
    if not panels:
        return None
    caption = (
        "Mean loss of each objective in nats per supervised token, before it is multiplied by its coefficient, at the "
        "steps that have rows of its source (task or replay). Curves of more than "
        f"{MAX_POINTS} steps show means of neighbouring steps. Scales differ between panels."
    )
    return Section("loss", "Loss by objective", [figure(panels, caption, run_legend(styles(runs)))])


def _curve(run: Run, by_step: Mapping[int, float]) -> Series:
    """Return a curve of at most `MAX_POINTS` points; a mean of steps is drawn at the last of them."""
    steps = sorted(by_step)
    width = -(-len(steps) // MAX_POINTS)
    blocks = [steps[start : start + width] for start in range(0, len(steps), width)]
    means = [Estimate(sum(by_step[step] for step in block) / len(block)) for block in blocks]
    return Series(run.name, run.style, [block[-1] for block in blocks], means)
