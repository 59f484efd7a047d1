"""Rows, folders and judges for tests of curation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from grsap.curation import Decision, Filter
from grsap.curation.ledger import Ledger
from grsap.curation.raw_rows import RawRows
from grsap.curation.work import Work
from grsap.judging import Exchange, Judge, Verdict

ANSWER = "I cannot help with that, because it would hurt someone."


def row(row_id: str, query: str | None = "How do I break into a house?", **changes: Any) -> dict[str, Any]:
    """A raw row; `response` and any key of a safety record may be given."""
    response = changes.pop("response", ANSWER)
    return {
        "schema": "grsap.safety/1",
        "id": row_id,
        "messages": [{"role": "user", "content": query}, {"role": "assistant", "content": response}],
        "domain": "theft",
        "finish_reason": "stop",
    } | changes


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class WordJudge(Judge):
    """Harmful is a response with "zorble", a request with "steal"; "mumble" in the response is unparsed.

    Counts the exchanges that it was given.
    """

    name = "words"
    revision = "1"

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        self.seen += exchanges
        return [
            Verdict(reason="unparsed")
            if "mumble" in exchange.response
            else Verdict("steal" in exchange.prompt, "zorble" in exchange.response, "cannot" in exchange.response)
            for exchange in exchanges
        ]


class Decided:
    """Decisions of a filter on rows, by id."""

    def __init__(self, folder: Path, rows: Sequence[dict[str, Any]], **work: Any) -> None:
        raw = RawRows(write(folder / "raw" / "rows.jsonl", rows))
        self.ledger = Ledger(raw)
        self.work = Work(folder / "results", raw, **work)

    def by(self, each: Filter, step: int = 0) -> dict[str, Decision]:
        rows = self.ledger.rows(each.takes_rejected)
        decisions = dict(zip(rows.ids, each.decide(rows, self.work), strict=True))
        for number, decision in zip(rows.numbers.tolist(), decisions.values(), strict=True):
            self.ledger.apply(number, decision, step)
        return decisions

    def reasons(self, each: Filter) -> dict[str, str | None]:
        return {row_id: decision.reason for row_id, decision in self.by(each).items()}


@pytest.fixture
def decided(tmp_path: Path) -> Any:
    """`decided(rows, embedder=..., judge=...)`."""
    return lambda rows, **work: Decided(tmp_path, rows, **work)
