"""Store results in an append-only file of JSON lines, so that they are not computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from grsap.appending import AppendFile
from grsap.checksums import checked_line, parse_checked_line
from grsap.errors import DataError
from grsap.json_text import MAX_BYTES
from grsap.records import bounded_lines

Entry = dict[str, Any]


class ResultLog:
    """A file of JSON lines with checksums, readable by its owner only. Creating the object does not access the disk.

    Entries are read from disk on demand. Memory holds 16 bytes for each line that was in the file when it was opened,
    and about 100 bytes for each line added since.

    Args:
        path: the file; created when the first entry is added.
        key: fields that identify an entry; of several lines with the same key the first is used.
        schema: value of `schema` in each line; None if the lines have none.
    """

    def __init__(self, path: Path, key: Sequence[str] = (), schema: str | None = None) -> None:
        self.path = path
        self.schema = schema
        self._key = tuple(key)
        self._added: dict[int, int] = {}
        self._hashes: np.ndarray | None = None
        self._offsets = np.zeros(0, np.int64)
        self._file: AppendFile | None = None
        self._reader: BinaryIO | None = None

    def lines(self) -> Iterator[tuple[int, Entry]]:
        """Yield (line number from 1, entry) of the whole file, after removing an incomplete last line.

        Raises:
            DataError: a line was changed since it was written, or has another schema; names it.
        """
        return ((number, entry) for _, number, entry in self._scan())

    def get(self, *key: Any) -> Entry | None:
        """Return the entry with this key, with its schema; None if there is none.

        Raises:
            DataError: a line was changed since it was written, or has another schema; names it.
        """
        offset = self._offset(key)
        if offset is None:
            return None
        if self._reader is None:
            self._reader = self.path.open("rb")
        self._reader.seek(offset)
        entry = parse_checked_line(self._reader.readline(MAX_BYTES + 1), self.path)
        return entry if self._key_of(entry) == key else None

    def entry(self, *key: Any) -> Entry:
        """Return the entry with this key, which must exist."""
        found = self.get(*key)
        assert found is not None, key
        return found

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return self._offset(key) is not None

    def add(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append the entries whose keys are new, all or none; they are on disk when this returns.

        Raises:
            RunFolderError: the disk is full or not available.
        """
        fresh = [entry for entry in entries if not self._key or self._key_of(entry) not in self]
        if not fresh:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = AppendFile(self.path)
        named = {} if self.schema is None else {"schema": self.schema}
        lines = [checked_line({**named, **entry}) for entry in fresh]
        offset = self._file.size_bytes
        self._file.append(b"".join(lines))
        for entry, line in zip(fresh, lines, strict=True) if self._key else ():
            self._added.setdefault(hash(self._key_of(entry)), offset)
            offset += len(line)

    def close(self) -> None:
        """Close the file; it is opened again on demand."""
        for each in (self._file, self._reader):
            if each is not None:
                each.close()
        self._file = self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _key_of(self, entry: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(entry[name] for name in self._key)

    def _offset(self, key: tuple[Any, ...]) -> int | None:
        """Return the offset of the line that may have a key; `get` compares the keys, whose hashes may collide."""
        if self._hashes is None:
            self._load_index()
        assert self._hashes is not None
        value = hash(key)
        place = int(np.searchsorted(self._hashes, value))
        if place < len(self._hashes) and self._hashes[place] == value:
            return int(self._offsets[place])
        return self._added.get(value)

    def _load_index(self) -> None:
        found = np.fromiter(
            ((hash(self._key_of(entry)), offset) for offset, _, entry in self._scan()),
            np.dtype([("hash", np.int64), ("offset", np.int64)]),
        )
        found.sort(order=["hash", "offset"])
        self._hashes, self._offsets = found["hash"].copy(), found["offset"].copy()

    def _scan(self) -> Iterator[tuple[int, int, Entry]]:
        """Yield (offset, line number, entry) of each line."""
        if not self.path.exists():
            return
        if self._file is None:
            AppendFile(self.path).close()  # removes a half-written end
        offset = 0
        with self.path.open("rb") as file:
            for number, raw in enumerate(bounded_lines(file), 1):
                if raw.strip():
                    entry = parse_checked_line(raw, self.path, number)
                    is_schema = self.schema is None or entry.get("schema") == self.schema
                    if not is_schema or not set(self._key) <= entry.keys():
                        raise DataError(
                            f"not a line of {self.schema or self.path.name}",
                            "Restore the file, or delete it to compute its results again",
                            path=self.path,
                            line=number,
                        )
                    yield offset, number, entry
                offset += len(raw)
