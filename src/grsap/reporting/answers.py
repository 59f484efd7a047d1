"""The section on unparsed, truncated and incoherent answers."""

from __future__ import annotations

from collections.abc import Sequence

from grsap.measurement.catalogue import RateSpec
from grsap.pages import Content, Section, table, with_interval
from grsap.pages.numbers import MISSING, count, percent, percent_interval
from grsap.reporting.before_after import rate_cell
from grsap.reporting.run import Run, answer_shares


def answers(runs: Sequence[Run]) -> Section | None:
    """Return a table of the shares before and after fine-tuning; None if none was measured."""
    rows: list[list[Content]] = []
    for run in runs:
        for moment in ("before", "after"):
            cells = [_share(run, moment, spec) for spec in answer_shares()]
            if all(cell == MISSING for cell in cells):
                continue
            rows.append([run.name, moment, *cells, _unparsed(run, moment), _task_cut(run, moment)])
    if not rows:
        return None
    caption = (
        "Percent of all answers to the safety prompts, with 95 % intervals in small print; the last column is percent "
        "of the answers to the task. An answer is incoherent if it has fewer than three letters, repeats itself, is in "
        "another language than its prompt, or is the same for many prompts: if many are, the safety rates mean "
        "nothing. Unparsed: verdicts that could not be read, of all verdicts. Truncated: cut at the token limit of "
        "the checks, which may be low on purpose."
    )
    headings = [
        "run",
        "moment",
        *(spec.label for spec in answer_shares()),
        "unparsed verdicts",
        "truncated task answers",
    ]
    return Section(
        "answers",
        "Unparsed, truncated and incoherent answers",
        [table(caption, headings, rows, text_columns=2)],
    )


def _share(run: Run, moment: str, spec: RateSpec) -> Content:
    """Return the cell of a share, from the summary or else from the first or last logged check."""
    rate = run.rate(moment, spec.key)
    if rate is not None:
        return rate_cell(rate)
    course = run.course(spec)
    if not course or not run.summary:
        return MISSING
    found = course[min(course) if moment == "before" else max(course)]
    return with_interval(percent(found.value), percent_interval(found.low, found.high))


def _unparsed(run: Run, moment: str) -> Content:
    """Return the cell of missing verdicts out of all verdicts that the rates need."""
    names = ["refusal_rate", "over_refusal_rate", *([] if run.is_proxy else ["harmfulness_rate"])]
    rates = [rate for name in names if (rate := run.rate(moment, name)) is not None]
    num_prompts = sum(rate["num_prompts"] for rate in rates)
    num_unparsed = sum(rate.get("num_unparsed") or 0 for rate in rates)
    return f"{count(num_unparsed)} of {count(num_prompts)}" if num_prompts else MISSING


def _task_cut(run: Run, moment: str) -> Content:
    by_step = next((values for key, values in run.metrics.items() if key.startswith("check/task_truncated_share/")), {})
    if not by_step:
        return MISSING
    return percent(by_step[min(by_step) if moment == "before" else max(by_step)])
