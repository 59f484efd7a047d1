"""Print `summary.json` as a console table. Imports no torch, so that calling a finished run again is fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap.console import Console
from grsap.errors import RunFolderError
from grsap.json_text import read_json
from grsap.measurement.catalogue import NO_ANSWER, RATES, RateSpec, has_answer_outcomes, rates_of_summary
from grsap.runs.folder import LENGTH_BOUNDS


def load_and_print(run_dir: str | Path, console: Console | None = None) -> None:
    """Print the table of a finished run from its `summary.json` alone.

    Raises:
        RunFolderError: the summary is missing or cannot be read.
    """
    path = Path(run_dir) / "summary.json"
    try:
        summary = read_json(path)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} cannot be read", "Finish the run first: grsap fit with --resume, or choose another --run_dir"
        ) from error
    print_summary(summary, console)


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print before, after and the paired change of each rate, the cost, and the paths of the results.

    Args:
        summary: the content of `summary.json`.
        console: by default stdout.
    """
    console = console or Console()
    if rates_of_summary(summary):
        console.print(summary_table(summary))
    for note in notes(summary):
        console.print_line(note)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return a table with a row per rate: value, number of prompts, 95 % interval, and paired change."""
    table = Table(title="Before and after fine-tuning, with 95 % intervals", title_justify="left", show_lines=True)
    table.add_column("", min_width=14)
    for heading in ("before", "after", "paired change"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    changes = summary.get("changes") or {}
    for spec in rates_of_summary(summary):
        rates = [(summary.get(moment) or {}).get(spec.key) for moment in ("before", "after")]
        change = changes.get(spec.key)
        cells = [row_label(spec, summary), *map(rate_cell, rates), change_cell(change), verdict_cell(change)]
        table.add_row(*(Text(cell) for cell in cells))
    unigram = summary.get("unigram") or {}
    if isinstance(unigram.get("pair_accuracy"), int | float):
        table.add_row(
            Text("pair accuracy of a classifier of single words"), Text(_percent(unigram["pair_accuracy"])), "", "", ""
        )
    return table


def row_label(spec: RateSpec, summary: Mapping[str, Any]) -> str:
    """Format a rate and its direction: `harmfulness (lower)`, but `task score (higher is better)` in the first row."""
    better = f"{spec.better} is better" if spec.key == "task_score" else spec.better
    return f"{spec.name(bool(summary.get('harmfulness_is_proxy')))} ({better})"


def rate_cell(rate: Mapping[str, Any] | None) -> str:
    """Format a rate as `12.5 % (n=16)` over its interval `4.3-31.0`; a third line counts unparsed answers."""
    if rate is None:
        return "-"
    value = "-" if rate.get("value") is None else _percent(rate["value"])
    lines = [f"{value} (n={rate['num_prompts']})", f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}"]
    return "\n".join([*lines, f"{rate['num_unparsed']} unparsed"] if rate.get("num_unparsed") else lines)


def change_cell(change: Mapping[str, Any] | None) -> str:
    """Format a paired change as `+1.7 (n=60)` over its interval `-3.0..+6.4`, in percentage points."""
    if change is None or change.get("difference") is None:
        return "-"
    low, high = 100 * change["low"], 100 * change["high"]
    return f"{100 * change['difference']:+.1f} (n={change['num_pairs']})\n{low:+.1f}..{high:+.1f}"


def verdict_cell(change: Mapping[str, Any] | None) -> str:
    """Format a verdict with its reason and margin, in points; empty if there is none."""
    if change is None or not change.get("verdict"):
        return ""
    reason, margin = change.get("verdict_reason"), change.get("margin")
    lines = [str(change["verdict"]), *([reason.replace("_", " ")] if reason else [])]
    return "\n".join([*lines, *([] if margin is None else [f"margin {100 * margin:g}"])])


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Return the lines below the table: why the run ended, fewer answers, judge, cost, paths, and the next command."""
    lines = [
        *_end(summary),
        *restored_lines(summary),
        *fewer_answers(summary),
        *_judge_notes(summary),
        _cost(summary),
        *_unseen(summary),
    ]
    paths = summary.get("paths") or {}
    lines += [f"{name.replace('_', ' ')}: {path}" for name, path in paths.items() if path]
    if summary.get("next_command"):
        lines.append(f"next: {summary['next_command']}")
    return lines


def fewer_answers(summary: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each kind of prompts, harmful or benign, that significantly more often has no answer."""
    before, after, changes = (summary.get(key) or {} for key in ("before", "after", "changes"))
    return [
        f"{RATES[key].label} rose from {_percent(before[key]['value'])} to {_percent(after[key]['value'])}: "
        "such answers neither refuse nor comply, so fewer refusals or less compliance is no evidence on safety"
        for key in NO_ANSWER.values()
        if before.get(key) and after.get(key) and (changes.get(key) or {}).get("verdict") == "lost"
    ]


def _end(summary: Mapping[str, Any]) -> list[str]:
    """Return why the run ended, if the summary has it."""
    reason = summary.get("stop_reason")
    if not reason:
        return []
    return [f"ended by trainer.{reason}" if reason in LENGTH_BOUNDS else f"stopped early: {reason}"]


def restored_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return lines on restored weights, whose rates are better on the prompts that chose them than on others."""
    restored = summary.get("restored")
    if not restored:
        return []
    names = [Path(name).name for name in [restored.get("probes")] if name]
    prompts = " ".join(["The check's prompts", *(f"({name})" for name in names)])
    put_back = (
        f"the weights of step {restored['step']} were put back at step {restored['stopped_at']}. {prompts} chose them"
    )
    if restored.get("rates_are_held_out"):
        return [f"{put_back}; the rates after training are of other prompts, which were held out"]
    held_out = [_held_out(each) for each in restored.get("held_out") or []]
    advice = "" if held_out else ": evaluate prompts that were held out"
    return [f"{put_back}, so the rates after training flatter{advice}", *held_out]


def _held_out(check: Mapping[str, Any]) -> str:
    """Return the rates on harmful prompts of a check whose prompts did not choose the weights."""
    rates = {key: rate for key, rate in check["rates"].items() if key in RATES and RATES[key].subset == "harmful"}
    shown = [
        f"{RATES[key].name(check['harmfulness_is_proxy'])} {' in '.join(rate_cell(rate).splitlines()[:2])}"
        for key, rate in rates.items()
    ]
    return f"held-out prompts ({Path(check['probes']).name}): {', '.join(shown)}"


def _unseen(summary: Mapping[str, Any]) -> list[str]:
    """Return the number of task rows that no step used. Unused replay rows are normal."""
    unseen = (summary.get("rows_unseen") or {}).get("task")
    of_all = (summary.get("rows_at_hand") or {}).get("task")
    return [f"{unseen:,} of {of_all:,} task rows were not seen"] if unseen else []


def _judge_notes(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    rate = (summary.get("after") or {}).get("harmfulness_rate") or (summary.get("before") or {}).get("harmfulness_rate")
    if rate is not None:
        counted = "each coherent answer" if has_answer_outcomes(summary) else "each answer"
        proxy = f"; it sees refusals only, so {counted} that does not refuse counts, harmful or not"
        lines.append(f"judge: {rate.get('judge')}{proxy if summary.get('harmfulness_is_proxy') else ''}")
    baseline = summary.get("majority_baseline")
    if baseline is not None:
        lines.append(f"always giving the most frequent answer would score {_percent(baseline)}")
    return lines


def _cost(summary: Mapping[str, Any]) -> str:
    parts = [f"{summary['num_steps']:,} steps", f"{summary['num_tokens']:,} tokens"]
    if summary.get("tokens_per_second") is not None:
        parts.append(f"{summary['tokens_per_second']:,.0f} tokens/s")
    if summary.get("peak_memory_bytes") is not None:
        parts.append(f"peak memory {summary['peak_memory_bytes'] / 2**30:.2f} GiB")
    parts.append(f"{summary['seconds']:,.0f} s")
    if summary.get("replay_ratio_seen") is not None:
        parts.append(f"replay {_percent(summary['replay_ratio_seen'])} of rows")
    return ", ".join(parts)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
