"""Along training: harm, over-refusal and task score at each check, and the loss of each objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grsap.pages import Element, Estimate, Section, Series, figure, line_chart, run_legend
from grsap.reporting.before_after import capitalized, run_label
from grsap.reporting.run import Run, headline_rates, styles

LOSS = "train/loss/"
MAX_POINTS = 240
"""Points of a loss curve; of longer ones, neighbouring steps are averaged."""


def along_training(runs: Sequence[Run]) -> Section | None:
    """A panel per rate with a line per run; None if no run was checked at two steps or more."""
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
        "Rates at each check, on the same prompts. Bands are 95 % intervals of single checks. Lines between checks "
        "only connect them: nothing was measured there."
    )
    return Section("training", "Along training", [figure(panels, caption, run_legend(drawn))])


def losses(runs: Sequence[Run]) -> Section | None:
    """A panel per objective with a line per run; None if no loss was logged."""
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
        "Unweighted loss of each objective in nats per supervised token of its own source, at steps that have such "
        "tokens. Scales differ between panels."
    )
    return Section("loss", "Loss by objective", [figure(panels, caption, run_legend(styles(runs)))])


def _curve(run: Run, by_step: Mapping[int, float]) -> Series:
    steps = sorted(by_step)
    width = -(-len(steps) // MAX_POINTS)
    blocks = [steps[start : start + width] for start in range(0, len(steps), width)]
    means = [Estimate(sum(by_step[step] for step in block) / len(block)) for block in blocks]
    return Series(run.name, run.style, [block[-1] for block in blocks], means)
