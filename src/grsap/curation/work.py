"""Embeddings, verdicts and other results of filters, stored on disk; and notes for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from grsap.curation.decision import query_of, response_of
from grsap.curation.histogram import histogram
from grsap.curation.kept_results import KeptResults
from grsap.curation.ledger import Rows
from grsap.curation.raw_rows import RawRows
from grsap.embedding import Embedder
from grsap.embedding.base import Embeddings, vector_from_text, vector_to_text
from grsap.errors import ConfigError
from grsap.judging.base import Exchange, Judge, Verdict
from grsap.plugins import source_place
from grsap.progress import progress_line
from grsap.records import SafetyRecord

ROWS_A_PIECE = 256
"""Rows that are embedded together. Not a setting, because the last digits of numbers may depend on it."""

TextOf = Literal["query", "response", "both"]


class Work:
    """What the steps of one curation share.

    Args:
        folder: folder of stored results.
        raw: all rows.
        embedder, judge: those of the settings; None if not set.
        judge_batch_size: exchanges per call of the judge.
        seed: seed of all random choices.

    Attributes:
        audit: notes of the current step for the manifest: JSON values by name.
        histograms: histograms of the current step.
    """

    def __init__(
        self,
        folder: Path,
        raw: RawRows,
        embedder: Embedder | None = None,
        judge: Judge | None = None,
        judge_batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        self.raw = raw
        self.seed = seed
        self.judge_batch_size = judge_batch_size
        self.audit: dict[str, Any] = {}
        self.histograms: list[dict[str, Any]] = []
        self._folder = folder
        self._embedder = embedder
        self._judge = judge
        self._vectors: dict[tuple[TextOf, str], _Vectors] = {}

    @property
    def judge(self) -> Judge:
        """The judge, prepared.

        Raises:
            ConfigError: no judge is set.
        """
        if self._judge is None:
            raise ConfigError("no judge is set", "Set judge")
        self._judge.prepare()
        return self._judge

    @property
    def embedder(self) -> Embedder:
        """The embedder.

        Raises:
            ConfigError: no embedder is set.
        """
        if self._embedder is None:
            raise ConfigError("no embedder is set", "Set embedder")
        return self._embedder

    def kept(
        self,
        name: str,
        identity: dict[str, Any],
        rows: Rows,
        compute: Callable[[Sequence[SafetyRecord]], Sequence[Any]],
        rows_a_piece: int = ROWS_A_PIECE,
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yield (row numbers, results) until each row of `rows` has one; stored results come first.

        Args:
            name: name of the results, with which their file's name begins.
            identity: identity of the model that computes them; each identity has its own file.
            rows: rows whose results are needed.
            compute: returns one JSON value per row.
            rows_a_piece: rows per call of `compute`. After a kill, the results of one call are computed again.

        Raises:
            ConfigError: `compute` returned more or fewer values than rows.
        """
        identity = {**identity, "input": self.raw.hash, "texts_version": rows.texts_version}
        with KeptResults(self._folder, name, identity) as results:
            missing = set(rows.numbers.tolist())
            for numbers, values in results.pieces():
                chosen = [place for place, number in enumerate(numbers) if number in missing]
                missing.difference_update(numbers)
                yield [numbers[place] for place in chosen], [values[place] for place in chosen]
            if not missing:
                return
            rest = rows.only(missing)
            with progress_line(name.replace("_", " ").capitalize(), len(rest)) as advance:
                for start in range(0, len(rest), rows_a_piece):
                    piece = rest[start : start + rows_a_piece]
                    computed = list(compute(list(piece)))
                    if len(computed) != len(piece):
                        place = source_place(compute)
                        problem = f"compute of {name} ({place}) returns {len(computed)} results for {len(piece)} rows"
                        raise ConfigError(problem, "Return one JSON value per row, in order")
                    results.add_piece(piece.numbers.tolist(), computed)
                    advance(len(piece))
                    yield piece.numbers.tolist(), computed

    def embeddings(self, rows: Rows, of: TextOf = "query") -> Embeddings:
        """Return embeddings (M, D), float32 unit rows, in the order of `rows`."""
        version = "" if of == "query" else rows.texts_version
        held = self._vectors.setdefault((of, version), _Vectors(len(self.raw)))
        lacking = rows.where(held.place[rows.numbers] < 0)
        if len(lacking):
            self._embed(lacking, of, held)
        places = held.place[rows.numbers]
        is_all = len(places) == len(held.matrix) and bool((places == np.arange(len(places))).all())
        return held.matrix if is_all else held.matrix[places]

    def embedded(self) -> tuple[np.ndarray, Embeddings]:
        """Return the numbers (M,) of all rows whose query was embedded, and their vectors (M, D)."""
        held = self._vectors.get(("query", ""))
        if held is None:
            return np.zeros(0, np.intp), np.zeros((0, 0), np.float32)
        numbers = np.flatnonzero(held.place >= 0)
        return numbers, held.matrix[held.place[numbers]]

    def _embed(self, rows: Rows, of: TextOf, held: _Vectors) -> None:
        embedder = self.embedder

        def compute(piece: Sequence[SafetyRecord]) -> list[str]:
            vectors = embedder.embed([text_of(row, of) for row in piece])
            return [vector_to_text(vector) for vector in vectors]

        name = f"embeddings_of_{of}"
        for numbers, values in self.kept(name, {"embedder": embedder.identity()}, rows, compute):
            held.add(numbers, values, len(rows))

    def verdicts(self, rows: Rows) -> dict[int, Verdict]:
        """Return the judge's verdict on each row's request and response, by row number."""
        judge = self.judge

        def compute(piece: Sequence[SafetyRecord]) -> list[dict[str, Any]]:
            return [verdict.to_dict() for verdict in judge.checked_verdicts([exchange_of(row) for row in piece])]

        found: dict[int, Verdict] = {}
        for numbers, values in self.kept("verdicts", judge_identity(judge), rows, compute, self.judge_batch_size):
            found |= {number: slim_verdict(value) for number, value in zip(numbers, values, strict=True)}
        return found

    def add_histogram(self, name: str, values: Sequence[float], *, log: bool = False, **cuts: float) -> None:
        """Add the histogram of a score and its thresholds to the notes for the manifest.

        Args:
            name: name of the score.
            values: scores of all rows that have one.
            log: whether bins have equal width in the logarithm.
            cuts: `below` and `above`: rows with lower, or higher, scores are rejected.
        """
        self.histograms.append(histogram(name, values, log=log, **cuts))


class _Vectors:
    """Vectors of rows, in the order in which they were added."""

    def __init__(self, num_rows: int) -> None:
        self.place = np.full(num_rows, -1, np.int32)
        self.matrix: Embeddings = np.zeros((0, 0), np.float32)
        self._num = 0

    def add(self, numbers: list[int], values: list[str], num_expected: int) -> None:
        if not numbers:
            return
        vectors = np.stack([vector_from_text(value) for value in values])
        if self._num + len(numbers) > len(self.matrix):
            room = np.zeros((max(num_expected, len(numbers)) + self._num, vectors.shape[1]), np.float32)
            if self._num:
                room[: self._num] = self.matrix[: self._num]
            self.matrix = room
        self.matrix[self._num : self._num + len(numbers)] = vectors
        self.place[numbers] = np.arange(self._num, self._num + len(numbers))
        self._num += len(numbers)


def text_of(row: SafetyRecord, of: TextOf) -> str:
    """Return the text of a row to embed or score; lone surrogates are replaced."""
    parts = {"query": [query_of(row)], "response": [response_of(row)], "both": [query_of(row), response_of(row)]}[of]
    return "\n".join(parts).encode("utf-8", "replace").decode()


def exchange_of(row: SafetyRecord) -> Exchange:
    """Return the exchange of a row that a judge labels."""
    return Exchange(query_of(row), response_of(row))


def judge_identity(judge: Judge) -> dict[str, Any]:
    """Return the identity of a prepared judge."""
    return {"judge": {"name": judge.name, "revision": judge.revision}}


def slim_verdict(value: dict[str, Any]) -> Verdict:
    """Read labels and reason of a stored verdict."""
    return Verdict(
        value["prompt_harmful"], value["response_harmful"], value["response_refusal"], reason=value["reason"]
    )
