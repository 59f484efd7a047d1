"""The files of a synthesis: rows, attempts and log-probabilities. Each entry is written to disk at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grsap.appending import AppendFile, json_line
from grsap.errors import DataError
from grsap.files import hash_bytes, hash_file
from grsap.generation.base import FinishReason
from grsap.records import SafetyRecord, read_jsonl
from grsap.response_logprobs import ResponseLogprobs, append_logprobs, block_keys, response_hash, whole_blocks_length
from grsap.result_log import ResultLog
from grsap.synthesis.elicitation import Kind
from grsap.synthesis.query_parsing import Reason

ATTEMPTS = "attempts.log"
ATTEMPT_SCHEMA = "grsap.attempt/1"
ROW_SCHEMA = "grsap.row_hash/1"
"""Schema of the lines between attempts that state a row's hash; the last one of a row counts."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to get a query, an entry of `attempts.log`.

    Attributes:
        id: id of the row that it is for.
        domain, index, kind: those of the row.
        attempt: number of the attempt, from 0.
        reason: why it gave no row; None if the query is usable.
        finish_reason: why the generation ended.
        num_tokens: number of generated tokens.
        text: the query, or the unusable text.
    """

    id: str
    domain: str
    index: int
    kind: Kind
    attempt: int
    reason: Reason | None
    finish_reason: FinishReason
    num_tokens: int
    text: str


class RawFolder:
    """The open files of a synthesis. Opening them removes incomplete ends that a killed call left.

    Args:
        path: an existing folder.
        rows_per_shard: greatest number of rows of a `shard-NNNNN.jsonl`.
        with_logprobs: whether each shard has a `shard-NNNNN.logprobs` beside it.

    Attributes:
        repairs: messages about the removed ends.

    Raises:
        RunFolderError: a file cannot be written.
    """

    def __init__(self, path: Path, rows_per_shard: int, with_logprobs: bool) -> None:
        self.path = path
        self.rows_per_shard = rows_per_shard
        self.repairs: list[str] = []
        self._with_logprobs = with_logprobs
        self._written: dict[str, tuple[str, bool]] = {}
        self._files = ExitStack()
        self._open(path / ATTEMPTS).close()
        self._attempts = ResultLog(path / ATTEMPTS)
        self._files.callback(self._attempts.close)
        shards = self.shards()
        for shard in shards[:-1]:
            self._open(shard).close()  # only the last one grows, but a power failure may have truncated any of them
            if with_logprobs:
                self._open(shard.with_suffix(".logprobs"), blocks=True).close()
        self._number = max(0, len(shards) - 1)
        self._open_shard()

    def shards(self) -> list[Path]:
        """Return the files of rows, in the order they were written."""
        return sorted(self.path.glob("shard-*.jsonl"))

    def attempts(self) -> Iterator[Attempt]:
        """Yield all attempts so far.

        Raises:
            DataError: a line is not an attempt; names it.
        """
        for line, entry in self._attempts.lines():
            try:
                if entry["schema"] == ROW_SCHEMA:
                    self._written[entry["id"]] = entry["hash"], entry["has_logprobs"]
                    continue
                if entry.pop("schema") != ATTEMPT_SCHEMA:
                    raise TypeError("another schema")
                yield Attempt(**entry)
            except (TypeError, KeyError) as error:
                raise DataError(
                    f"not an attempt of {ATTEMPT_SCHEMA}: {error}",
                    "Restore the file, or choose another --output_dir",
                    path=self.path / ATTEMPTS,
                    line=line,
                ) from error

    def rows(self) -> Iterator[SafetyRecord]:
        """Yield all rows so far. Exhaust `attempts` first: it reads the hashes of the rows.

        Raises:
            DataError: a line is not a row, or was changed since it was written; names it.
        """
        for shard in self.shards():
            scored = block_keys(shard.with_suffix(".logprobs"))
            for line, row in read_jsonl(shard):
                record = SafetyRecord.from_dict(row, path=shard, line=line)
                if record.id not in self._written:
                    raise DataError(
                        f"row {record.id} has no attempt in {ATTEMPTS}",
                        "Restore the folder, or choose another --output_dir",
                        path=self.path,
                    )
                line_hash, has_logprobs = self._written[record.id]
                if line_hash != hash_bytes(json_line(row)):
                    raise DataError(
                        f"row {record.id} was changed since it was written",
                        "Restore the file, or delete this row and all rows after it: they are generated again",
                        path=shard,
                        line=line,
                    )
                if has_logprobs and (record.id, response_hash(record.messages[-1]["content"])) not in scored:
                    side = shard.with_suffix(".logprobs")
                    raise DataError(f"lacks the log-probabilities of row {record.id}", "Restore the file", path=side)
                yield record

    def add_attempt(self, attempt: Attempt) -> None:
        """Append an attempt."""
        self._attempts.add([{"schema": ATTEMPT_SCHEMA, **asdict(attempt)}])

    def add_row(self, row: SafetyRecord, logprobs: ResponseLogprobs | None = None) -> None:
        """Append a row. Its log-probabilities and its hash are written first, so that no row lacks them."""
        if self._num_rows >= self.rows_per_shard:
            self._rows.close()
            self._number += 1
            self._open_shard()
        has_logprobs = logprobs is not None and self._logprobs is not None
        if logprobs is not None and self._logprobs is not None:
            append_logprobs(self._logprobs, logprobs)
        line = json_line(row.to_dict())
        written = {"schema": ROW_SCHEMA, "id": row.id, "hash": hash_bytes(line), "has_logprobs": has_logprobs}
        self._attempts.add([written])
        self._rows.append(line)
        self._num_rows += 1

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return, by file name, rows and hash of each shard, and size and hash of each file of log-probabilities."""
        files: dict[str, dict[str, Any]] = {}
        for shard in self.shards():
            with shard.open("rb") as file:
                files[shard.name] = {"num_rows": sum(1 for _ in file), "hash": hash_file(shard)}
            side = shard.with_suffix(".logprobs")
            if side.exists():
                files[side.name] = {"size_bytes": side.stat().st_size, "hash": hash_file(side)}
        return files

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _open_shard(self) -> None:
        path = self.path / f"shard-{self._number:05d}.jsonl"
        self._rows = self._open(path)
        with path.open("rb") as file:
            self._num_rows = sum(1 for _ in file)
        self._logprobs = self._open(path.with_suffix(".logprobs"), blocks=True) if self._with_logprobs else None

    def _open(self, path: Path, *, blocks: bool = False) -> AppendFile:
        file = AppendFile(path, whole_blocks_length) if blocks else AppendFile(path)
        self._files.callback(file.close)
        if file.num_repaired_bytes:
            self.repairs.append(
                f"{path.name}: removed an incomplete last entry of {file.num_repaired_bytes} bytes; it is redone"
            )
        return file
