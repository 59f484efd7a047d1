"""The second stage: each judge says of each exchange what it is, once.

Equal answers of several subjects to the same prompt are one exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grsap.appending import json_line
from grsap.errors import DataError
from grsap.evaluation.generating import Answer
from grsap.evaluation.journal import Journal
from grsap.evaluation.work import Work
from grsap.files import hash_bytes, hash_json
from grsap.judging import Exchange, Judge, Verdict
from grsap.progress import progress_line

VERDICT_SCHEMA = "grsap.verdict/1"
VERDICTS_DIR = "verdicts"
NUM_AT_ONCE = 32
"""Exchanges that a judge is given together: a kill loses the verdicts of these at most."""


@dataclass
class Judging:
    """Has answers judged, and finds the verdicts.

    Args:
        folder: of the evaluation.
    """

    folder: Path
    work: dict[str, Work] = field(default_factory=dict)
    _journals: dict[str, Journal] = field(default_factory=dict)

    def journal(self, judge: Judge) -> Journal:
        """Where the verdicts of a judge are kept; the judge must be prepared."""
        name = hash_json(judge.identity())
        if name not in self._journals:
            path = self.folder / VERDICTS_DIR / f"{name}.jsonl"
            self._journals[name] = Journal(path, VERDICT_SCHEMA, ("exchange",))
        return self._journals[name]

    def judge_all(self, judge: Judge, answers: Iterable[Answer]) -> None:
        """Have a judge judge what it has not judged yet.

        Raises:
            PluginError: it does not give one verdict an exchange.
        """
        judge.prepare()
        journal = self.journal(judge)
        exchanges = {
            exchange_hash(answer): Exchange.of(answer.messages, answer.response)
            for answer in answers
            if not answer.is_withheld
        }
        missing = [name for name in exchanges if (name,) not in journal.entries]
        if not missing:
            return
        started = time.monotonic()
        work = self.work.setdefault(judge.name, Work())
        try:
            with progress_line(f"Verdicts of {judge.name}", len(missing)) as advance:
                for start in range(0, len(missing), NUM_AT_ONCE):
                    names = missing[start : start + NUM_AT_ONCE]
                    verdicts = judge.checked_verdicts([exchanges[name] for name in names])
                    pairs = zip(names, verdicts, strict=True)
                    journal.add([{"exchange": name, **verdict.to_dict()} for name, verdict in pairs])
                    advance(len(names))
                    work.num_done += len(names)
        finally:
            work.seconds += time.monotonic() - started

    def verdicts(self, judge: Judge, answers: Mapping[str, Sequence[Answer]]) -> dict[str, list[Verdict]]:
        """By item id, one a sample.

        Raises:
            DataError: some are not there yet.
        """
        judge.prepare()
        entries = self.journal(judge).entries
        found: dict[str, list[Verdict]] = {}
        for item, samples in answers.items():
            for answer in samples:
                if answer.is_withheld:
                    found.setdefault(item, []).append(Verdict(reason="unanswered"))
                    continue
                entry = entries.get((exchange_hash(answer),))
                if entry is None:
                    raise DataError(f"{judge.name} has not judged all answers", "Run the stage judge first")
                kept = {key: value for key, value in entry.items() if key not in ("schema", "exchange")}
                found.setdefault(item, []).append(Verdict.from_dict(kept))
        return found

    def close(self) -> None:
        """Let go of all files."""
        for journal in self._journals.values():
            journal.close()


def exchange_hash(answer: Answer) -> str:
    """Of what a judge is shown."""
    return hash_bytes(json_line({"messages": answer.messages, "response": answer.response}))
