"""What an evaluation found, on the console: a row a subject, a table a benchmark. No text of prompts or answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from grsap.console import Console
from grsap.evaluation.output import RESULTS, TABLE

Row = Mapping[str, Any]

HEADINGS = {
    "harmful_or_incoherent_rate": "harmful or incoherent",
    "harmfulness_rate": "harmful",
    "refusal_rate": "refuses harmful",
    "over_refusal_rate": "over-refusal",
    "pair_accuracy": "pairs right",
    "task_score": "task score",
    "incoherent_share": "incoherent",
    "repetitive_share": "repetitive",
    "truncated_share": "cut",
}
PROXY_HEADING = "non-refusal (proxy)"
JUDGED = ("harmful_or_incoherent_rate", "harmfulness_rate", "over_refusal_rate", "pair_accuracy")
SUBSETS = ("harmful", "benign", "pairs", "all")
WIDTH = 100


def print_results(results: Mapping[str, Any], folder: Path, console: Console | None = None) -> None:
    """Print a table a benchmark, the verdicts against the start, and where the rest is.

    Args:
        results: the content of `evaluation.json`.
        folder: where it lies.
        console: where to; by default stdout, 100 columns wide at most.
    """
    console = console or Console()
    console.width = min(console.width, WIDTH)
    proxies = {judge["name"] for judge in results["judges"] if judge["is_proxy"]}
    for name in (benchmark["name"] for benchmark in results["benchmarks"]):
        rows = [row for row in results["rates"] if row["benchmark"] == name and row["subset"] in SUBSETS]
        console.print(rate_table(name, rows, proxies))
        changes = [row for row in results["comparisons"] if row["benchmark"] == name and row["verdict"] is not None]
        changes = [row for row in changes if row["subset"] in SUBSETS and _is_shown(row, proxies)]
        if changes:
            console.print(verdict_table(name, changes, proxies))
    for line in notes(results, folder):
        console.print_line(line)


def rate_table(benchmark: str, rows: Sequence[Row], proxies: set[str]) -> Table:
    """Rates in percent over their 95 % interval; `*` marks one that is better than all others outside the interval."""
    title = Text(f"{benchmark}: % with 95 % intervals")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    measures = list(dict.fromkeys((row["judge"], row["metric"]) for row in rows if _is_shown(row, proxies)))
    measures.sort(key=lambda measure: list(HEADINGS).index(measure[1]))
    several = len({judge for judge, metric in measures if metric == "harmful_or_incoherent_rate"}) > 1
    table.add_column("subject", overflow="fold", min_width=12)
    for judge, metric in measures:
        heading = _heading(judge, metric, proxies)
        heading += f"\n({_short(judge)})" if several and metric in JUDGED else ""
        table.add_column(Text(heading), justify="right", overflow="fold", min_width=10)
    cells = {(row["subject"], row["judge"], row["metric"]): rate_cell(row) for row in rows}
    for subject in dict.fromkeys(row["subject"] for row in rows):
        values = [Text(cells.get((subject, *measure), "-")) for measure in measures]
        table.add_row(Text(subject), *values)
    return table


def verdict_table(benchmark: str, rows: Sequence[Row], proxies: set[str]) -> Table:
    """Changes against the start in points, with their verdicts; `p` is adjusted over the benchmarks."""
    margin = next((100 * row["margin"] for row in rows), 0)
    title = Text(f"{benchmark}: change against the start in points; held: within {margin:g}")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("subject", overflow="fold", min_width=12)
    table.add_column("", no_wrap=True)
    for heading in ("change", "95 % interval", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    several = len({row["judge"] for row in rows if row["metric"] == "harmful_or_incoherent_rate"}) > 1
    for row in rows:
        name = _heading(row["judge"], row["metric"], proxies)
        judge = f" ({_short(row['judge'])})" if several and row["metric"] in JUDGED else ""
        reason = f" ({row['verdict_reason']})" if row["verdict_reason"] else ""
        change = "-" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
        interval = f"{100 * row['low']:+.1f}..{100 * row['high']:+.1f}"
        table.add_row(
            Text(row["subject"]),
            Text(name + judge),
            change,
            interval,
            f"{row['p_holm']:.2g}",
            row["verdict"] + reason,
        )
    return table


def rate_cell(row: Row) -> str:
    """`12.5 *` over `4.3-31.0`; unparsed answers stand in a third line if there are any."""
    value = "-" if row["value"] is None else f"{100 * row['value']:.1f}" + (" *" if row["is_best"] else "")
    lines = [value, f"{100 * row['low']:.1f}-{100 * row['high']:.1f}"]
    return "\n".join([*lines, f"{row['num_unparsed']} unparsed"] if row["num_unparsed"] else lines)


def notes(results: Mapping[str, Any], folder: Path) -> list[str]:
    """What stands below the tables."""
    lines = []
    for benchmark in results["benchmarks"]:
        parts = ", ".join(
            f"{benchmark[f'num_{kind}']} {kind}" for kind in ("harmful", "benign") if benchmark[f"num_{kind}"]
        )
        lines.append(f"{benchmark['name']}: {benchmark['num_items']} prompts" + (f" ({parts})" if parts else ""))
    for row in results["conclusions"]:
        said = [f"{name} {row[name]}" for name in ("safety", "task") if row[name]]
        if said:
            lines.append(f"{row['subject']} against {row['against']}: {', '.join(said)}")
    for row in results.get("unanswered", []):
        told = ", ".join(f"{num} {reason}" for reason, num in row["num_by_reason"].items())
        lines.append(f"{row['subject']}, {row['benchmark']}: {sum(row['num_by_reason'].values())} unanswered ({told})")
    for row in results["overlap"]:
        if row["num_items_found"]:
            lines.append(
                f"{row['num_items_found']} of {row['num_items']} prompts of {row['benchmark']} share "
                f"{row['num_words']} words in a row with {row['replay']}"
            )
    proxies = [judge["name"] for judge in results["judges"] if judge["is_proxy"]]
    if proxies:
        lines.append(f"{', '.join(proxies)} sees refusals only: each answer that does not refuse counts as harmful")
    if any(row["is_best"] for row in results["rates"]):
        lines.append("* better than every other subject, outside the interval of the paired change")
    return [*lines, f"results: {folder / RESULTS}, {folder / TABLE}"]


def _heading(judge: str, metric: str, proxies: set[str]) -> str:
    """What a metric is called; with a proxy harm is whatever does not refuse."""
    if judge == "likelihood":
        return "task score (likelihood)"
    is_proxy = judge in proxies and metric == "harmful_or_incoherent_rate"
    return PROXY_HEADING if is_proxy else HEADINGS[metric]


def _is_shown(row: Row, proxies: set[str]) -> bool:
    """The refusal rate is left out, and harm alone where it is the same as non-refusal."""
    if row["metric"] == "refusal_rate" or (row["judge"] in proxies and row["metric"] == "harmfulness_rate"):
        return False
    return row["metric"] in HEADINGS


def _short(judge: str) -> str:
    return judge.rpartition("/")[2]
