"""Results that are kept under a key each, as lines of a file that only grows: what is in it is never made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grsap.appending import AppendFile
from grsap.checksums import checked_line, read_checked_lines
from grsap.errors import DataError

Entry = dict[str, Any]


class Journal:
    """A file of JSON lines, readable by its owner only. Making the object touches nothing.

    Args:
        path: the file; it is made when the first entry is added.
        schema: of its lines.
        key: the fields that tell a line from another.
    """

    def __init__(self, path: Path, schema: str, key: Sequence[str]) -> None:
        self.path = path
        self.schema = schema
        self._key = tuple(key)
        self._entries: dict[tuple[Any, ...], Entry] | None = None
        self._file: AppendFile | None = None

    @property
    def entries(self) -> Mapping[tuple[Any, ...], Entry]:
        """All lines by key. A half-written end that a killed call left is not there.

        Raises:
            DataError: a line is not one of this journal; names it.
        """
        if self._entries is None:
            self._entries = {}
            if self.path.exists():
                AppendFile(self.path).close()  # takes the half-written end away
                for number, entry in read_checked_lines(self.path):
                    if entry.get("schema") != self.schema or not set(self._key) <= entry.keys():
                        raise DataError(
                            f"no line of {self.schema}",
                            "Restore the file, or delete it to have it made again",
                            path=self.path,
                            line=number,
                        )
                    self._entries.setdefault(self._key_of(entry), entry)
        return self._entries

    def add(self, entries: Sequence[Entry]) -> None:
        """Write entries, all or none; they are on disk when this returns.

        Raises:
            RunFolderError: the disk is full or gone.
        """
        known = self.entries
        fresh = [{"schema": self.schema, **entry} for entry in entries]
        fresh = [entry for entry in fresh if self._key_of(entry) not in known]
        if not fresh:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = AppendFile(self.path)
        self._file.append(b"".join(checked_line(entry) for entry in fresh))
        assert self._entries is not None
        self._entries.update((self._key_of(entry), entry) for entry in fresh)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _key_of(self, entry: Entry) -> tuple[Any, ...]:
        return tuple(entry[name] for name in self._key)
