"""Drops rows whose query occurs in an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grsap.curation.base import Filter
from grsap.curation.decision import Decision, keep, query_of
from grsap.curation.ledger import Rows
from grsap.curation.work import Work
from grsap.data.tables import read_table
from grsap.embedded import resolve
from grsap.embedding.base import Embeddings
from grsap.errors import ConfigError
from grsap.files import hash_file
from grsap.text.word_runs import NUM_WORDS, word_runs

COLUMNS = ("prompt", "query", "question", "instruction", "goal", "text")
BLOCK = 1024


@dataclass(frozen=True)
class Prompt:
    """A prompt of an evaluation, and its place, such as `probes.jsonl:12`."""

    text: str
    place: str


class BenchmarkOverlap(Filter):
    """Keeps rows whose query is in no evaluation, neither word for word nor paraphrased.

    Reasons: `benchmark_words` (the query shares runs of words with a prompt), `benchmark_meaning` (its cosine with a
    prompt is too high), each with the prompt's place.

    Args:
        files: evaluation files: `.jsonl`, `.csv` or `.parquet` with `messages`, of which the last user turn is
            compared, or one of the columns prompt, query, question, instruction, goal, text.
        column: name of another column.
        num_words: length of a run in words. A query or prompt with fewer words is one run.
        max_share: greatest share of a query's runs, in [0, 1], that may occur in the evaluations.
        max_cosine: greatest cosine of a query with any prompt, in (0, 1]; null to compare words only.
    """

    def __init__(
        self,
        files: list[str],
        column: str | None = None,
        num_words: int = NUM_WORDS,
        max_share: float = 0.0,
        max_cosine: float | None = 0.9,
    ) -> None:
        self.files = files
        self.column = column
        self.num_words = num_words
        self.max_share = max_share
        self.max_cosine = max_cosine

    @property
    def needs(self) -> frozenset[str]:
        """The embedder, unless only words are compared."""
        return frozenset() if self.max_cosine is None else frozenset({"embedder"})

    def check(self, where: str) -> None:
        """Raise ConfigError for a number out of range, DataError for a file that cannot be read."""
        if self.num_words < 1 or not 0 <= self.max_share <= 1 or not 0 < (self.max_cosine or 1) <= 1:
            raise ConfigError(
                f"{where}: num_words, max_share or max_cosine is out of range",
                "Give at least 1 word, a share in [0, 1], and a cosine in (0, 1] or null",
            )
        if not self.files:
            raise ConfigError(f"{where}: files is empty", "Give evaluation files, or leave the filter out")
        self._prompts()

    def settings(self) -> dict[str, Any]:
        """Return the settings with the files' hashes."""
        return {**super().settings(), "file_hashes": [hash_file(resolve(file)) for file in self.files]}

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row."""
        prompts = self._prompts()
        work.audit |= {"num_prompts": len(prompts)}
        runs: dict[int, int] = {}
        for number, prompt in enumerate(prompts):
            for run in word_runs(prompt.text, self.num_words):
                runs.setdefault(run, number)
        found = [self._shared(query_of(row), runs) for row in rows]
        work.add_histogram("benchmark_share", [share for share, _ in found], above=self.max_share)
        cosines, nearest = self._cosines(rows, prompts, work)
        for (share, place), cosine, near in zip(found, cosines, nearest, strict=True):
            scores = {"benchmark_share": round(share, 4)}
            if self.max_cosine is not None:
                scores["benchmark_cosine"] = round(cosine, 4)
            if share > self.max_share:
                yield Decision(False, "benchmark_words", scores, related_id=prompts[place].place)
            elif self.max_cosine is not None and cosine > self.max_cosine:
                yield Decision(False, "benchmark_meaning", scores, related_id=prompts[near].place)
            else:
                yield keep(**scores)

    def _shared(self, query: str, runs: Mapping[int, int]) -> tuple[float, int]:
        """Return the share of a query's runs that occur in prompts, and the number of the first such prompt, or 0."""
        mine = word_runs(query, self.num_words)
        hits = [runs[run] for run in mine if run in runs]
        return (len(hits) / len(mine), min(hits)) if hits else (0.0, 0)

    def _cosines(self, rows: Rows, prompts: Sequence[Prompt], work: Work) -> tuple[list[float], list[int]]:
        """Return each row's greatest cosine with a prompt, and the prompt's number."""
        if self.max_cosine is None:
            return [0.0] * len(rows), [0] * len(rows)
        theirs = work.embedder.embed([prompt.text for prompt in prompts])
        greatest, nearest = greatest_cosines(work.embeddings(rows), theirs)
        work.add_histogram("benchmark_cosine", greatest.tolist(), above=self.max_cosine)
        return greatest.tolist(), nearest.tolist()

    def _prompts(self) -> list[Prompt]:
        prompts = []
        for file in self.files:
            path = resolve(file)
            for place, row in read_table(path):
                text = self._text(row)
                if text is None:
                    raise place.error(f"columns {', '.join(map(str, row))} contain no prompt", "Set column")
                prompts.append(Prompt(text, f"{path.name}:{place.line}"))
        return prompts

    def _text(self, row: Mapping[str, Any]) -> str | None:
        if self.column is None and isinstance(row.get("messages"), list):
            turns = [turn.get("content") for turn in row["messages"] if turn.get("role") == "user"]
            return str(turns[-1]) if turns else None
        names = COLUMNS if self.column is None else (self.column,)
        return next((str(row[name]) for name in names if row.get(name)), None)


def greatest_cosines(vectors: Embeddings, others: Embeddings) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the greatest cosine (M,) of each row (M, D) with the others (K, D), and its index (M,)."""
    greatest = np.full(len(vectors), -1.0)
    nearest = np.zeros(len(vectors), np.intp)
    for start in range(0, len(vectors) if len(others) else 0, BLOCK):
        products = vectors[start : start + BLOCK] @ others.T
        nearest[start : start + BLOCK] = products.argmax(axis=1)
        greatest[start : start + BLOCK] = products.max(axis=1)
    return np.clip(greatest, -1, 1), nearest
