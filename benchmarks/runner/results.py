"""Results as JSON files, and the table of `benchmarks/README.md` that is written from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.runner.cell import Cell
from benchmarks.runner.environments import ROOT
from benchmarks.runner.figures import figure_name, summed_up
from grsap.errors import ConfigError
from grsap.files import write_atomic, write_json

SCHEMA = "grsap.benchmark/1"
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- results: written by `python -m benchmarks` -->", "<!-- end of results -->"

Alternations = Sequence[Mapping[str, Mapping[str, Any]]]


def result_of(cell: Cell, alternations: Alternations, machine: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What is kept of a cell's runs: figures, and every record with its rows as one hash."""
    first = alternations[0]
    return {
        "schema": SCHEMA,
        "cell": cell.name,
        "title": cell.title,
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {**machine, "threads": cell.threads},
        "versions": {name: record["versions"] for name, record in first.items() if "versions" in record},
        "pairs": len(alternations),
        "figures": summed_up(cell, alternations),
        "alternations": [{name: _kept(record) for name, record in each.items()} for each in alternations],
    }


def _kept(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in ("rows", "versions")}
    if "rows" in record:
        kept["rows_hash"] = hashlib.sha256(json.dumps(record["rows"]).encode()).hexdigest()[:16]
    return kept


def write_result(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write `CELL.json`."""
    path = folder / f"{result['cell']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(result))
    return path


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results of a folder by cell; other files are passed over."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("schema") == SCHEMA:
            found[content["cell"]] = content
    return found


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """The rows of a result in the table."""
    return [
        f"| {result['title']} | {each['name']} | **{number(each['median'])}** | {number(each['min'])} to "
        f"{number(each['max'])} | {_target(each['target'])} | {_met(each['met'])} | {result['pairs']} |"
        for each in result["figures"]
    ]


def table(cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]]) -> str:
    """All figures of all cells; those without a result are told as not measured."""
    lines = ["| what | figure | median | range | target | met | runs |", "|---|---|---|---|---|---|---|"]
    for cell in cells:
        if cell.name in results:
            lines += result_lines(results[cell.name])
        else:
            lines += [
                f"| {cell.title} | {figure_name(each)} | not measured | | {_target(each.target)} | | |"
                for each in cell.figures
            ]
    measured = [(cell, results[cell.name]) for cell in cells if cell.name in results]
    notes = [f"**{cell.title}.** {' '.join(cell.note.split())}" for cell in cells if cell.note]
    blocks = ["\n".join(lines), *notes]
    if measured:
        blocks.append(
            "\n".join(
                [
                    "| cell | date | command | machine | versions |",
                    "|---|---|---|---|---|",
                    *(
                        f"| {cell.name} | {result['date']} | `{result['command']}` | {_machine(result['machine'])} | "
                        f"{_versions(result['versions'])} |"
                        for cell, result in measured
                    ),
                ]
            )
        )
    return "\n\n".join(blocks)


def write_table(cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]], readme: Path = README) -> None:
    """Put the table between its marks in the README.

    Raises:
        ConfigError: the marks are not there.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{readme} has no place for the table", f"Put the lines {BEGIN} and {END} into it")
    write_atomic(readme, f"{before}{BEGIN}\n\n{table(cells, results)}\n\n{END}{after}")


def comparison(result: Mapping[str, Any], committed: Mapping[str, Any] | None) -> list[str]:
    """Says of each figure whether its median lies within the range of the committed one, and the other way round."""
    if committed is None:
        return ["no committed result to compare with"]
    known = {each["name"]: each for each in committed["figures"]}
    lines = []
    for each in result["figures"]:
        old = known.get(each["name"])
        if old is not None:
            overlap = each["min"] <= old["max"] and old["min"] <= each["max"]
            verdict = "overlap" if overlap else "do NOT overlap"
            lines.append(
                f"{each['name']}: {number(each['median'])}, committed {number(old['median'])} "
                f"({number(old['min'])} to {number(old['max'])}): the ranges {verdict}"
            )
    return lines


def number(value: float) -> str:
    """Three or four digits that count, without an exponent where it can be read so."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.4g}"


def _target(target: Mapping[str, float] | None) -> str:
    return (
        "" if not target else " and ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in target.items())
    )


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "**no**"


def _machine(machine: Mapping[str, Any]) -> str:
    gpus = ", ".join(machine["gpus"])
    loaded = ", LOADED" if machine.get("loaded") else ""
    return (
        f"{gpus + ', ' if gpus else ''}{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['threads']} threads{loaded}"
    )


def _versions(versions: Mapping[str, Mapping[str, str]]) -> str:
    union = {f"{name} {version}" for each in versions.values() for name, version in each.items()}
    return ", ".join(sorted(union))
