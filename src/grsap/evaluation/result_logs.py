"""Results of an evaluation that are computed once: a log for each subject, judge or model, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from grsap.progress import progress_line
from grsap.result_log import Entry, ResultLog


@dataclass
class Cost:
    """Of the results of one subject or judge.

    Attributes:
        seconds: spent.
        num_done: answers, likelihoods or verdicts computed.
        num_tokens: that a subject generated.
    """

    seconds: float = 0.0
    num_done: int = 0
    num_tokens: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        seconds = round(self.seconds + other.seconds, 3)
        return Cost(seconds, self.num_done + other.num_done, self.num_tokens + other.num_tokens)


class ResultLogs:
    """The logs of one kind of results.

    Args:
        folder: of the logs.
        schema, key: of their lines; see `ResultLog`.

    Attributes:
        cost: of this call, by the name of subject or judge.
    """

    def __init__(self, folder: Path, schema: str, key: Sequence[str]) -> None:
        self.cost: dict[str, Cost] = {}
        self._folder = folder
        self._schema = schema
        self._key = key
        self._logs: dict[str, ResultLog] = {}

    def named(self, name: str) -> ResultLog:
        """The log `NAME.jsonl`."""
        if name not in self._logs:
            self._logs[name] = ResultLog(self._folder / f"{name}.jsonl", self._key, self._schema)
        return self._logs[name]

    def add_all(
        self, log: ResultLog, who: str, title: str, total: int, pieces: Generator[Sequence[Entry], None, None]
    ) -> None:
        """Append pieces of results as they are computed. Each is on disk before the next begins.

        Args:
            log: where they are kept.
            who: subject or judge whose cost it is.
            title: of the progress line.
            total: number of results; with 0 nothing is computed.
            pieces: computes them.
        """
        if not total:
            return
        started = time.monotonic()
        cost = self.cost.setdefault(who, Cost())
        try:
            with progress_line(title, total) as advance, closing(pieces):
                for entries in pieces:
                    log.add(entries)
                    num_tokens = sum(entry.get("num_tokens", 0) for entry in entries)
                    advance(len(entries), num_tokens)
                    cost.num_done += len(entries)
                    cost.num_tokens += num_tokens
        finally:
            cost.seconds += time.monotonic() - started

    def close(self) -> None:
        """Close all files."""
        for log in self._logs.values():
            log.close()
