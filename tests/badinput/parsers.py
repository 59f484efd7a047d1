"""What reads texts that others wrote: each takes bytes, and returns or raises `UserError`. Anything else is a fault."""

from __future__ import annotations

import tempfile
from argparse import ArgumentError
from collections.abc import Callable
from pathlib import Path

from tests.badinput.walk import parser_of

from grsap.commands.parsing import parse
from grsap.data.columns import ColumnMap
from grsap.data.replay_formats import read_row
from grsap.data.tables import read_table
from grsap.errors import UserError
from grsap.evaluation.choice_answers import read_choice
from grsap.evaluation.math_answers import read_math
from grsap.evaluation.number_answers import read_number
from grsap.evaluation.spec_file import load_benchmark
from grsap.generation.server_client import check_address, retry_after_s
from grsap.json_text import parse_json
from grsap.judging import Exchange, RefusalMatcher, harmbench_judge, rubric_judge, wildguard_judge
from grsap.records import check_messages, read_probes
from grsap.reporting.sources import read_source
from grsap.synthesis.domains import load_domains

Parser = Callable[[bytes], object]


def _in_file(name: str, read: Callable[[Path], object]) -> Parser:
    """A reader of files, given the bytes in a file of this name."""

    def parse(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            return read(path)

    return parse


def _of_text(read: Callable[[str], object]) -> Parser:
    """A reader of texts; bytes that are no UTF-8 become lone surrogates, which tokens and JSON can spell too."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _config(path: Path) -> object:
    try:
        return parse(parser_of("import"), ["--config", str(path)], {})
    except ArgumentError as error:  # the command line tells it as the user's
        return error


def _replay(path: Path) -> object:
    return [read_row(row, place) for place, row in read_table(path)]


def _task(path: Path) -> object:
    rows = list(read_table(path))
    return ColumnMap().conversations(rows)


def _benchmark(path: Path) -> object:
    spec = load_benchmark(str(path))
    spec._check_settings()
    return spec


def _messages(text: str) -> object:
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return check_messages(value)


def _verdicts(text: str) -> object:
    formats = (wildguard_judge.ANSWER, harmbench_judge.ANSWER, rubric_judge.ANSWER)
    return [each.parse(text) for each in formats], RefusalMatcher().judge([Exchange("What?", text)])


PARSERS: dict[str, Parser] = {
    "config": _in_file("my.yaml", _config),
    "benchmark": _in_file("mine.yaml", _benchmark),
    "domains": _in_file("domains.yaml", lambda path: load_domains(str(path))),
    "replay_jsonl": _in_file("rows.jsonl", _replay),
    "replay_csv": _in_file("rows.csv", _replay),
    "task_jsonl": _in_file("rows.jsonl", _task),
    "task_csv": _in_file("rows.csv", _task),
    "probes": _in_file("probes.jsonl", read_probes),
    "manifest": _in_file("manifest.json", lambda path: read_source(path.parent, "mine")),
    "messages": _of_text(_messages),
    "verdicts": _of_text(_verdicts),
    "choice": _of_text(lambda text: read_choice(text, ("A", "B"), ("a ball", "a box"))),
    "number": _of_text(read_number),
    "math": _of_text(read_math),
    "address": _of_text(check_address),
    "retry_after": _of_text(lambda text: retry_after_s({"retry-after": text})),
}


def try_parser(name: str, data: bytes) -> None:
    """Parse; a user's error is as good as a result."""
    try:
        PARSERS[name](data)
    except UserError as error:
        assert str(error).strip(), f"{name}: an error without a word"  # noqa: PT017 (its text is what is checked)
