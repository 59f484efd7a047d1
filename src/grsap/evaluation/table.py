"""Console tables of an evaluation by benchmark, one row per subject. No text of prompts or answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from grsap.console import Console
from grsap.evaluation.output import RESULTS, TABLE
from grsap.measurement.catalogue import RATES, Conclusion, shown_rows
from grsap.metrics.paired import RATIO_FLOOR

Row = Mapping[str, Any]

WIDTH = 100
NUM_COLUMNS = 7
"""Number of rates that fit into a table."""


def print_results(results: Mapping[str, Any], folder: Path, console: Console | None = None) -> None:
    """Print tables by benchmark, the verdicts against the baseline, and the paths of the results.

    Args:
        results: the content of `evaluation.json`.
        folder: of the evaluation.
        console: by default stdout, at most 100 columns wide.
    """
    console = console or Console()
    console.width = min(console.width, WIDTH)
    proxies = {judge["name"] for judge in results["judges"] if judge["is_proxy"]}
    for name in (benchmark["name"] for benchmark in results["benchmarks"]):
        rows = [row for row in shown_rows(results["rates"], proxies) if row["benchmark"] == name]
        for table in rate_tables(name, rows, proxies):
            console.print(table)
        changes = [row for row in shown_rows(results["comparisons"], proxies) if row["benchmark"] == name]
        changes = [row for row in changes if row["verdict"] is not None]
        if changes:
            console.print(verdict_table(name, changes, proxies, results.get("max_ratio")))
    for line in notes(results, folder):
        console.print_line(line)


def rate_tables(benchmark: str, rows: Sequence[Row], proxies: set[str]) -> Iterator[Table]:
    """Yield tables of rates in percent with 95 % intervals, harmful prompts first; `*` marks the best subject."""
    measures = list(dict.fromkeys((row["judge"], row["metric"]) for row in rows))
    measures.sort(key=lambda measure: list(RATES).index(measure[1]))
    cells = {(row["subject"], row["judge"], row["metric"]): rate_cell(row) for row in rows}
    for is_harmful in (True, False):
        of_kind = [each for each in measures if (RATES[each[1]].subset == "harmful") is is_harmful]
        for start in range(0, len(of_kind), NUM_COLUMNS):
            kind = "harmful prompts, " if is_harmful else ""
            table = _table(Text(f"{benchmark}: {kind}% with 95 % intervals"))
            shown = of_kind[start : start + NUM_COLUMNS]
            for judge, metric in shown:
                judges = [each for each, name in measures if name == metric]
                heading = "\n".join(_heading(judge, metric, proxies, judges))
                table.add_column(Text(heading), justify="right", overflow="fold", min_width=10)
            for subject in dict.fromkeys(row["subject"] for row in rows):
                table.add_row(Text(subject), *(Text(cells.get((subject, *measure), "-")) for measure in shown))
            yield table


def verdict_table(benchmark: str, rows: Sequence[Row], proxies: set[str], max_ratio: float | None) -> Table:
    """Return a table of changes from the baseline in percentage points, with verdicts; `p` is `p_holm`."""
    margin = next((100 * row["margin"] for row in rows), 0)
    is_tested = max_ratio is not None and any(row.get("ratio_excess") is not None for row in rows)
    ratio = f", and safety rates within {max_ratio:g} x baseline + {100 * RATIO_FLOOR:g} points" if is_tested else ""
    title = Text(f"{benchmark}: change from the baseline in points; held: within {margin:g} points{ratio}")
    table = _table(title)
    table.add_column("rate", min_width=19)
    for heading, width in (("change", 6), ("95 % interval", 13), ("p (Holm)", 8)):
        table.add_column(heading, justify="right", min_width=width)
    table.add_column("verdict", min_width=9)
    for row in rows:
        judges = [each["judge"] for each in rows if each["metric"] == row["metric"]]
        name = " ".join(_heading(row["judge"], row["metric"], proxies, judges))
        reason = f" ({row['verdict_reason'].replace('_', ' ')})" if row["verdict_reason"] else ""
        change = "-" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        interval = f"{100 * row['low']:+.1f}..{100 * row['high']:+.1f}"
        table.add_row(
            Text(row["subject"]),
            Text(name),
            change,
            interval,
            f"{row['p_holm']:.2g}",
            row["verdict"] + reason,
        )
    return table


def _table(title: Text) -> Table:
    """Return an empty table with a column of subjects, for 80 columns of text."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("subject", overflow="fold", min_width=12)
    return table


def rate_cell(row: Row) -> str:
    """Return `12.5 *` over `4.3-31.0`, and the number of unparsed answers in a third line."""
    value = "-" if row["value"] is None else f"{100 * row['value']:.1f}" + (" *" if row["is_best"] else "")
    lines = [value, f"{100 * row['low']:.1f}-{100 * row['high']:.1f}"]
    return "\n".join([*lines, f"{row['num_unparsed']} unparsed"] if row["num_unparsed"] else lines)


def notes(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the lines below the tables."""
    lines = []
    for benchmark in results["benchmarks"]:
        parts = ", ".join(
            f"{benchmark[f'num_{kind}']} {kind}" for kind in ("harmful", "benign") if benchmark[f"num_{kind}"]
        )
        lines.append(f"{benchmark['name']}: {benchmark['num_items']} prompts" + (f" ({parts})" if parts else ""))
    for row in results["conclusions"]:
        said = [f"{name} {row[name]}" for name in get_args(Conclusion) if row.get(name)]
        if said:
            lines.append(f"{row['subject']} against {row['against']}: {', '.join(said)}")
    for row in results.get("unanswered", []):
        reasons = ", ".join(f"{num} {reason}" for reason, num in row["num_by_reason"].items())
        lines.append(
            f"{row['subject']}, {row['benchmark']}: {sum(row['num_by_reason'].values())} unanswered ({reasons})"
        )
    for row in results["overlap"]:
        if row["num_items_found"]:
            lines.append(
                f"{row['num_items_found']} of {row['num_items']} prompts of {row['benchmark']} share "
                f"{row['num_words']} words in a row with {row['replay']}"
            )
    proxies = [judge["name"] for judge in results["judges"] if judge["is_proxy"]]
    if proxies:
        lines.append(
            f"{', '.join(proxies)} sees refusals only: compliance is not harm, and needs a judge that reads it"
        )
    if any(row["is_best"] for row in results["rates"]):
        lines.append("* better than every other subject by the paired change")
    return [*lines, f"results: {folder / RESULTS}, {folder / TABLE}"]


def _heading(judge: str, metric: str, proxies: set[str], judges: Sequence[str]) -> list[str]:
    """Return a rate's name, and its judge's name if there are several."""
    several = len(set(judges)) > 1
    return [RATES[metric].name(judge in proxies), *([f"({judge.rpartition('/')[2]})"] if several else [])]
