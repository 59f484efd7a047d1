"""Log-probabilities of responses, in files beside their rows.

A file is a sequence of blocks, one per response: a line of JSON, then raw little-endian arrays of T tokens and k
candidates: token ids (T, int32), log-probabilities of the tokens (T, float16), candidates' ids (T x k, int32) and their
log-probabilities (T x k, float16). That is 6 + 6 k bytes per token: 126 bytes for k = 20, or 25 MB for 1,000 responses
of 200 tokens. Values are natural logs of the model's distribution before temperature and nucleus.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from grsap.appending import AppendFile
from grsap.errors import DataError
from grsap.files import hash_bytes, hash_json
from grsap.json_text import parse_json

_MAX_HEAD_BYTES = 1 << 16
SCHEMA = "grsap.logprobs/1"
NO_CANDIDATE = -1
"""Fills `top_ids` where the backend returned fewer than k candidates; their log-probability is -inf."""

Key = tuple[str, str, str]
"""Row id, response hash, tokenizer hash."""


@dataclass(frozen=True, eq=False)
class ResponseLogprobs:
    """One response of T tokens, including its end token, with k candidates per position.

    Attributes:
        id: id of the row.
        response_hash: `response_hash` of its text.
        tokenizer_hash: `tokenizer_hash` of the tokenizer of the ids.
        token_ids: (T,) int32.
        logprobs: (T,) float16, log-probabilities of `token_ids`.
        top_ids: (T, k) int32, most likely first.
        top_logprobs: (T, k) float16, log-probabilities of `top_ids`.
    """

    id: str
    response_hash: str
    tokenizer_hash: str
    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float16]
    top_ids: npt.NDArray[np.int32]
    top_logprobs: npt.NDArray[np.float16]

    @property
    def key(self) -> Key:
        """Key of the row."""
        return self.id, self.response_hash, self.tokenizer_hash


def tokenizer_hash(vocabulary: Mapping[str, int]) -> str:
    """Return the hash of a tokenizer's vocabulary, as returned by `get_vocab()`."""
    return hash_json(vocabulary)


def response_hash(text: str) -> str:
    """Return the hash of a response's unchanged text."""
    return hash_bytes(text.encode(errors="surrogatepass"))


def candidate_arrays(
    tops: Sequence[Sequence[tuple[int, float]]], k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float16]]:
    """Return `top_ids` and `top_logprobs`, (T, k), from (id, log-probability) pairs per position, padded to k."""
    ids = np.full((len(tops), k), NO_CANDIDATE, np.int32)
    values = np.full((len(tops), k), -math.inf, np.float16)
    for position, top in enumerate(tops):
        for rank, (token, value) in enumerate(top[:k]):
            ids[position, rank], values[position, rank] = token, value
    return ids, values


def append_logprobs(file: AppendFile, entry: ResponseLogprobs) -> None:
    """Append a block to a file that was opened with `whole_blocks_length`."""
    num_tokens, k = entry.top_ids.shape
    arrays: list[npt.NDArray[Any]] = [entry.token_ids, entry.logprobs, entry.top_ids, entry.top_logprobs]
    types = ("<i4", "<f2", "<i4", "<f2")
    payload = b"".join(array.astype(kind).tobytes() for array, kind in zip(arrays, types, strict=True))
    head = {
        "schema": SCHEMA,
        "id": entry.id,
        "response_hash": entry.response_hash,
        "tokenizer_hash": entry.tokenizer_hash,
        "num_tokens": num_tokens,
        "k": k,
        "size_bytes": len(payload),
        "hash": hash_bytes(payload),
    }
    file.append(json.dumps(head).encode() + b"\n" + payload)


def whole_blocks_length(path: Path) -> int:
    """Return the bytes of a file up to the end of its last complete block.

    Raises:
        DataError: a block before the last one is damaged; names the byte offset.
    """
    end = 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        for head in _heads(file):
            place = file.tell() + int(head["size_bytes"])
            if place > size:
                return end
            if hash_bytes(file.read(int(head["size_bytes"]))) != head["hash"]:
                if place == size:
                    return end  # after a power failure the file's size may be on disk without its bytes
                raise _damaged(path, end)
            end = place
        file.seek(end)
        if file.readline().endswith(b"\n"):  # a head that a killed process left incomplete has no newline
            raise _damaged(path, end)
    return end


def block_keys(path: Path) -> set[tuple[str, str]]:
    """Return (row id, response hash) of each block of a file without an incomplete block; empty if there is no file."""
    if not path.exists():
        return set()
    found = set()
    with path.open("rb") as file:
        for head in _heads(file):
            found.add((head["id"], head["response_hash"]))
            file.seek(int(head["size_bytes"]), 1)
    return found


def _damaged(path: Path, place: int) -> DataError:
    return DataError(
        f"is damaged at byte {place}", "Restore the file, or choose another folder with --output_dir", path=path
    )


def _heads(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield block heads from the file's position until one is invalid; the file position is then after the head."""
    while line := file.readline(_MAX_HEAD_BYTES):
        try:
            head = parse_json(line.decode())
            if head["schema"] != SCHEMA or int(head["size_bytes"]) < 0:
                return
        except (ValueError, KeyError, TypeError):
            return
        yield head


class LogprobReader:
    """Looks up log-probabilities of responses in the files of a folder; only their offsets are in memory.

    Args:
        folder: folder of `*.logprobs` files.

    Raises:
        DataError: there is no such file, or one is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        paths = sorted(Path(folder).glob("*.logprobs"))
        if not paths:
            raise DataError("holds no *.logprobs file", "Synthesize with response_sampling.top_logprobs", path=folder)
        self._places: dict[Key, tuple[Path, int]] = {}
        for path in paths:
            self._scan(path)

    def _scan(self, path: Path) -> None:
        with path.open("rb") as file:
            size, place = path.stat().st_size, 0
            for head in _heads(file):
                end = file.tell() + int(head["size_bytes"])
                if end > size:
                    break
                # A response that was generated again occurs twice, with equal values.
                self._places[head["id"], head["response_hash"], head["tokenizer_hash"]] = path, place
                file.seek(end)
                place = end
        if place != size:
            raise DataError(f"is damaged at byte {place}", "Run grsap synthesize again to repair it", path=path)

    def stored_keys(self) -> list[Key]:
        """Return all (row id, response hash, tokenizer hash)."""
        return list(self._places)

    def read(self, row_id: str, response: str, tokenizer_hash: str) -> ResponseLogprobs | None:
        """Return the log-probabilities of a row's response; None if there are none for this text and tokenizer.

        Raises:
            DataError: they are damaged.
        """
        found = self._places.get((row_id, response_hash(response), tokenizer_hash))
        if found is None:
            return None
        path, place = found
        with path.open("rb") as file:
            file.seek(place)
            head = parse_json(file.readline(_MAX_HEAD_BYTES).decode())
            payload = file.read(head["size_bytes"])
        if hash_bytes(payload) != head["hash"]:
            raise DataError(f"the block of row {row_id} is damaged", "Restore the file", path=path)
        num, k = head["num_tokens"], head["k"]
        parts = [("<i4", num), ("<f2", num), ("<i4", num * k), ("<f2", num * k)]
        token_ids, logprobs, top_ids, top = _split(payload, parts)
        return ResponseLogprobs(
            id=row_id,
            response_hash=head["response_hash"],
            tokenizer_hash=tokenizer_hash,
            token_ids=token_ids,
            logprobs=logprobs,
            top_ids=top_ids.reshape(num, k),
            top_logprobs=top.reshape(num, k),
        )


def _split(payload: bytes, parts: Sequence[tuple[str, int]]) -> list[npt.NDArray[Any]]:
    arrays, place = [], 0
    for kind, count in parts:
        arrays.append(np.frombuffer(payload, kind, count, place))
        place += arrays[-1].nbytes
    return arrays
