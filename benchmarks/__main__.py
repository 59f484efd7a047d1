"""`python -m benchmarks CELL ...`: measure cells, write their results, and the table of `benchmarks/README.md`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner.cell import all_cells, load_cells
from benchmarks.runner.execution import Options, run_cell
from benchmarks.runner.journal import UNFINISHED, Journal
from benchmarks.runner.machine import check_quiet, describe
from benchmarks.runner.results import (
    RESULTS,
    comparison,
    read_results,
    result_lines,
    result_of,
    write_result,
    write_table,
)
from grsap.errors import GrsapError


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cells", nargs="*", help="cells by name, or the suites quick, cpu, gpu; none writes the table")
    parser.add_argument("--list", action="store_true", help="list the cells and end")
    parser.add_argument("--pairs", type=int, help="alternations of the sides, instead of the cell's own")
    parser.add_argument("--model", help="folder or embedded:NAME, instead of the cell's own")
    parser.add_argument("--tiny", action="store_true", help="a tiny random model for two steps: to see that all runs")
    parser.add_argument("--even-if-loaded", action="store_true", help="measure on a loaded machine; the result says so")
    parser.add_argument(
        "--results", type=Path, help="folder of the results; another than benchmarks/results leaves the table alone"
    )
    return parser


def main(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    try:
        return measure(options, f"python -m benchmarks {shlex.join(words)}")
    except GrsapError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code


def measure(options: argparse.Namespace, command: str) -> int:
    every = all_cells()
    if options.list:
        for cell in every:
            print(f"{cell.name:<24} {cell.suite:<6} {cell.title}")
        return 0
    cells = load_cells(options.cells)
    folder = options.results or (None if options.tiny else RESULTS)
    committed = read_results(RESULTS)
    how = Options(options.pairs, options.tiny, options.model, options.even_if_loaded)
    failed = 0
    if cells:
        check_quiet(load=True, even_if_loaded=how.even_if_loaded)
    for cell in cells:
        print(f"{cell.name}: {cell.title}", file=sys.stderr, flush=True)
        machine = describe() | {"loaded": how.even_if_loaded}
        journal = None if options.tiny else Journal(UNFINISHED, cell, {**machine, "model": options.model})
        try:
            alternations = run_cell(cell, how, journal)
        except GrsapError as error:
            print(f"Error: {error}", file=sys.stderr, flush=True)
            failed = failed or error.exit_code
            continue
        result = result_of(cell, alternations, machine, command)
        print("\n".join(result_lines(result)), flush=True)
        if folder is not None and folder != RESULTS:
            print("\n".join(comparison(result, committed.get(cell.name))), flush=True)
        if folder is not None:
            write_result(folder, result)
        if journal is not None:
            journal.finish()
    if folder == RESULTS:
        write_table(every, read_results(RESULTS))
    return failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the side that runs ends with us
    raise SystemExit(main(sys.argv[1:]))
