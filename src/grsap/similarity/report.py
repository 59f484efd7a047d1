"""The result of a comparison: its file, its table, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap import __version__
from grsap.checksums import read_checked_json, write_checked_json
from grsap.console import Console
from grsap.errors import DataError
from grsap.files import hash_json
from grsap.similarity.similarity import Similarity

SCHEMA = "grsap.similarity/1"
RESULT = "similarity.json"
COLUMNS = (
    ("raw", "reference"),
    ("curated", "reference"),
    ("reference", "itself"),
    ("raw", "itself"),
    ("curated", "itself"),
)


@dataclass(frozen=True)
class Result:
    """The result; the lists are those of `similarity.json`."""

    measures: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    cannot_know: list[str]


def inputs_hash(settings: Similarity) -> str:
    """Return a hash of everything that the numbers depend on."""
    files = {name: each.files for name, each in settings.populations.items()}
    sizes = [settings.num_compared, settings.num_seeds, settings.seed, settings.views]
    return hash_json([__version__, files, sizes, settings.identities()])


def read_result(folder: Path, inputs: str) -> Result | None:
    """Read the finished result of these inputs; None if there is none."""
    try:
        found = read_checked_json(folder / RESULT)
    except (OSError, DataError):
        return None
    if found is None or found["inputs_hash"] != inputs:
        return None
    return Result(found["measures"], found["differences"], found["cannot_know"])


def write_result(settings: Similarity, result: Result, inputs: str, seconds: float, folder: Path) -> None:
    """Write `similarity.json`."""
    write_checked_json(
        folder / RESULT,
        {
            "schema": SCHEMA,
            "grsap_version": __version__,
            "inputs_hash": inputs,
            "seed": settings.seed,
            "seconds": round(seconds, 3),
            "num_rows_compared": settings.num_compared,
            **settings.identities(),
            "populations": {name: each.describe() for name, each in settings.populations.items()},
            "measures": result.measures,
            "differences": result.differences,
            "cannot_know": result.cannot_know,
        },
    )


def cannot_know(settings: Similarity) -> list[str]:
    """Return the limits of the comparison: questions that its numbers do not answer."""
    lines = [
        "Differences that the embedder does not see: it may place different texts close together, and read only the "
        "beginning of long ones",
        "How much wider intervals would be if related rows (twins, paraphrases, revisions) counted as one: rows are "
        "treated as independent",
    ]
    if settings.reference is None:
        lines.append(
            "How close the sets are to the data that the model was aligned on: there is no reference. A set may be "
            "similar to itself and unlike everything else"
        )
    else:
        lines += [
            "Whether the reference is all the data that the model was aligned on",
            "The query KL itself: the estimate is for a few principal components of embeddings, whose KL is at most "
            "that of the queries, and it is biased towards 0",
        ]
    if settings.model is None:
        lines.append("The likelihood of the responses under the model: there is no model")
    elif settings.reference is not None:
        lines += [
            "How far the expected response KL is below its bound: with one answer per query, the entropy of the "
            "reference's answers is unknown",
            "The response KL to answers sampled at another temperature or with a nucleus, or to a curated set: the "
            "bound is for the model's distribution at temperature 1",
            "The response KL on rows that the model was not trained on: if it was trained on the reference's rows, the "
            "bound is for these rows only, and higher on others of their kind",
            "The joint KL of Theorem 1: its first term is underestimated and its second is a bound, so their sum is "
            "neither an estimate nor a bound",
        ]
    return lines


def print_result(result: Result, folder: Path, console: Console | None = None) -> None:
    """Print a row per measure with its value for each set, the differences of raw and curated, and the limits."""
    console = console or Console()
    scored = [each for each in result.measures if _is_likelihood(each)]
    titles = {"query": "Queries", "response": "Responses", "exchange": "Exchanges", "labels": "Labels"}
    for view, title in titles.items():
        measures = [each for each in result.measures if each["view"] == view and not _is_likelihood(each)]
        if measures:
            console.print(_table(title, measures))
    if scored:
        console.print(_likelihood_table(scored))
    beyond = [f"{each['view']} {each['measure']}" for each in result.differences if each["is_beyond"]]
    if result.differences:
        console.print_line(
            f"raw and curated differ beyond the interval in: {', '.join(beyond) or 'nothing'} "
            f"({len(beyond)} of {len(result.differences)} measures)"
        )
    console.print_line("cannot be known from this:")
    for line in result.cannot_know:
        console.print_line(f"  - {line}")
    console.print_line(f"numbers: {folder / RESULT}")


def _table(title: str, measures: list[dict[str, Any]]) -> Table:
    columns = [pair for pair in COLUMNS if any(_pair(each) == pair for each in measures)]
    if ("reference", "itself") in columns:
        columns = columns[: columns.index(("reference", "itself")) + 1]  # the others are in the file
    is_against = any(against == "reference" for _, against in columns)
    table = Table(title=f"{title} against the reference" if is_against else title, title_justify="left")
    table.add_column("measure", no_wrap=True)
    for population, against in columns:
        heading = f"{population}\nitself" if against == "itself" else population
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(each["measure"] for each in measures):
        mine = [each for each in measures if each["measure"] == name]
        cells = {_pair(each): _cell(each) for each in mine}
        table.add_row(Text(name), *(cells.get(pair, "") for pair in columns))
    return table


def _likelihood_table(measures: list[dict[str, Any]]) -> Table:
    table = Table(title="Responses under the model, in nats", title_justify="left")
    for heading in ("responses", "minus log-likelihood", "per token", "meaning"):
        table.add_column(heading, justify="left" if heading in ("responses", "meaning") else "right")
    for whole, per_token in zip(measures[::2], measures[1::2], strict=True):
        is_bound = whole["population"] == "model"
        what = "upper bound of the expected KL" if is_bound else "mean of the set; not a divergence"
        name = "reference" if is_bound else whole["population"]
        table.add_row(Text(name), _cell(whole), _cell(per_token), what)
    return table


def _is_likelihood(measure: dict[str, Any]) -> bool:
    return str(measure["measure"]).startswith(("response_kl_bound", "response_nll"))


def _pair(measure: dict[str, Any]) -> tuple[str, str]:
    return measure["population"], measure["against"]


def _cell(measure: dict[str, Any]) -> str:
    if measure["low"] is None:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f}\n[{measure['low']:.3f}, {measure['high']:.3f}]"
