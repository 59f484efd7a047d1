"""The judge stage: each judge gives one verdict per exchange.

Equal answers of several subjects to the same prompt are one exchange.
"""

from __future__ import annotations

from collections.abc import Generator as Generating
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from grsap.appending import json_line
from grsap.errors import DataError
from grsap.evaluation.generating import Answer
from grsap.evaluation.result_logs import ResultLogs
from grsap.files import hash_bytes, hash_json
from grsap.judging import Exchange, Judge, Verdict
from grsap.result_log import Entry, ResultLog

VERDICT_SCHEMA = "grsap.verdict/1"
VERDICTS_DIR = "verdicts"
NUM_AT_ONCE = 32
"""Exchanges per call of a judge; a kill loses at most the verdicts of one call."""


class Verdicts(ResultLogs):
    """Computes missing verdicts of all judges, and reads them.

    Args:
        folder: of the evaluation.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / VERDICTS_DIR, VERDICT_SCHEMA, ("exchange",))

    def log(self, judge: Judge) -> ResultLog:
        """Return the log of a judge's verdicts; the judge must be prepared."""
        return self.named(hash_json(judge.identity()))

    def judge(self, judge: Judge, answers: Iterable[Answer]) -> None:
        """Compute a judge's missing verdicts.

        Raises:
            PluginError: it does not return one verdict per exchange.
        """
        judge.prepare()
        log = self.log(judge)
        exchanges = {
            exchange_hash(answer): Exchange.of(answer.messages, answer.response)
            for answer in answers
            if not answer.is_unanswered
        }
        missing = [name for name in exchanges if (name,) not in log]

        def pieces() -> Generating[list[Entry], None, None]:
            for start in range(0, len(missing), NUM_AT_ONCE):
                names = missing[start : start + NUM_AT_ONCE]
                verdicts = judge.checked_verdicts([exchanges[name] for name in names])
                pairs = zip(names, verdicts, strict=True)
                yield [{"exchange": name, **verdict.to_dict()} for name, verdict in pairs]

        self.add_all(log, judge.name, f"Verdicts of {judge.name}", len(missing), pieces())

    def of(self, judge: Judge, answers: Mapping[str, Sequence[Answer]]) -> dict[str, list[Verdict]]:
        """Return by item id one verdict per sample.

        Raises:
            DataError: verdicts are missing.
        """
        judge.prepare()
        log = self.log(judge)
        found: dict[str, list[Verdict]] = {}
        for item, samples in answers.items():
            for answer in samples:
                if answer.is_unanswered:
                    found.setdefault(item, []).append(Verdict(reason="unanswered"))
                    continue
                entry = log.get(exchange_hash(answer))
                if entry is None:
                    raise DataError(f"{judge.name} has not judged all answers", "Run the stage judge first")
                kept = {key: value for key, value in entry.items() if key not in ("schema", "exchange")}
                found.setdefault(item, []).append(Verdict.from_dict(kept))
        return found


def exchange_hash(answer: Answer) -> str:
    """Return the hash of what a judge sees."""
    return hash_bytes(json_line({"messages": answer.messages, "response": answer.response}))
