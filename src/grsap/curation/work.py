"""Embeddings, verdicts and other results that filters compute, kept on disk; and notes for the manifest."""

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
from grsap.files import hash_json
from grsap.judging.base import Exchange, Judge, Verdict
from grsap.progress import progress_line
from grsap.records import SafetyRecord

ROWS_A_PIECE = 256
"""Rows that are scored or embedded together. It is no setting: the last digits of numbers may depend on it."""

TextOf = Literal["query", "response", "both"]


class Work:
    """Shared by the steps of one curation.

    Args:
        folder: where results are kept.
        raw: all rows.
        embedder, judge: as set; None if there is none.
        judge_batch_size: exchanges that the judge is given at once.
        seed: of all that is random.

    Attributes:
        audit: what the present step notes for the manifest: JSON values by name.
        histograms: those of the present step.
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
            ConfigError: there is none.
        """
        if self._judge is None:
            raise ConfigError("no judge is set", "Set judge")
        self._judge.prepare()
        return self._judge

    @property
    def embedder(self) -> Embedder:
        """The embedder.

        Raises:
            ConfigError: there is none.
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
        """Yield (row numbers, results) until each row of `rows` has one; those that are on disk come first.

        Args:
            name: of the results; begins their file's name.
            identity: of the model that computes them; each identity has a file of its own.
            rows: whose results are wanted.
            compute: gives one JSON value a row.
            rows_a_piece: rows that it is given at once.

        Raises:
            ValueError: `compute` gave more or fewer values than rows.
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
                        raise ValueError(f"{name}: {len(computed)} results came of {len(piece)} rows")
                    results.add_piece(piece.numbers.tolist(), computed)
                    advance(len(piece))
                    yield piece.numbers.tolist(), computed

    def embeddings(self, rows: Rows, of: TextOf = "query") -> Embeddings:
        """(M, D) float32 unit rows, in the order of `rows`."""
        version = "" if of == "query" else rows.texts_version
        held = self._vectors.setdefault((of, version), _Vectors(len(self.raw)))
        lacking = rows.where(held.place[rows.numbers] < 0)
        if len(lacking):
            self._embed(lacking, of, held)
        places = held.place[rows.numbers]
        is_all = len(places) == len(held.matrix) and bool((places == np.arange(len(places))).all())
        return held.matrix if is_all else held.matrix[places]

    def embedded(self) -> tuple[np.ndarray, Embeddings]:
        """Numbers of all rows whose query was embedded, and the vectors."""
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
        """The judge's verdict on each row's request and response, by row number."""
        judge = self.judge

        def compute(piece: Sequence[SafetyRecord]) -> list[dict[str, Any]]:
            return [verdict.to_dict() for verdict in judge.checked_verdicts([exchange_of(row) for row in piece])]

        found: dict[int, Verdict] = {}
        for numbers, values in self.kept("verdicts", judge_identity(judge), rows, compute, self.judge_batch_size):
            found |= {number: slim_verdict(value) for number, value in zip(numbers, values, strict=True)}
        return found

    def add_histogram(self, name: str, values: Sequence[float], *, log: bool = False, **cuts: float) -> None:
        """Note how a score is spread, and where it is cut.

        Args:
            name: of the score.
            values: of all rows that have one.
            log: whether its bins are equally wide in the logarithm.
            cuts: `below` and `above`: rows with less, or more, go.
        """
        self.histograms.append(histogram(name, values, log=log, **cuts))


class _Vectors:
    """Vectors of rows, added as they come."""

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
    """A row's text to score; characters that are no Unicode are replaced."""
    parts = {"query": [query_of(row)], "response": [response_of(row)], "both": [query_of(row), response_of(row)]}[of]
    return "\n".join(parts).encode("utf-8", "replace").decode()


def exchange_of(row: SafetyRecord) -> Exchange:
    """What a judge is shown of a row."""
    return Exchange(query_of(row), response_of(row))


def judge_identity(judge: Judge) -> dict[str, Any]:
    """Identity of a prepared judge."""
    return {"judge": {"name": judge.name, "revision": judge.revision or hash_json(sorted(judge.labels))}}


def slim_verdict(value: dict[str, Any]) -> Verdict:
    """A verdict from disk: labels and reason."""
    return Verdict(
        value["prompt_harmful"], value["response_harmful"], value["response_refusal"], reason=value["reason"]
    )
