"""Rows of a file, a resource of the package, or a data set on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grsap.data.columns import Place
from grsap.data.data_sets import DataSet, Options
from grsap.data.tables import READERS, check_file, read_table
from grsap.embedded import is_packaged, resolve
from grsap.errors import ConfigError
from grsap.files import hash_file


@dataclass(frozen=True)
class RowSource:
    """Rows of a file, or of a data set that the package `datasets` loads (extra `hub`).

    Args:
        path: a `.jsonl`, `.csv` or `.parquet` file, `embedded:NAME`, `installed:PACKAGE/FILE`, the id of a
            data set on the Hub, or a folder.
        names: configurations of the data set, such as `[main]`, read one after the other.
        splits: splits of the data set, such as `[test]`.
        revision: branch, tag or commit of the data set; give a commit to always get the same rows.
        options: arguments of `datasets.load_dataset`, such as `{sep: "\\t"}`.

    For a file only `path` is used. Rows of a data set have two more columns, `config` and `split`.
    """

    path: str
    names: list[str] | None = None
    splits: list[str] | None = None
    revision: str | None = None
    options: Options | None = None

    @property
    def is_file(self) -> bool:
        """Return whether `path` is a file rather than a data set."""
        return is_packaged(self.path) or Path(self.path).suffix.lower() in READERS

    def check(self) -> None:
        """Check, before any row is read, that file, package and access are available.

        Raises:
            ConfigError: a data set without `splits`.
            DataError: no such file or data set, or no access to it; names the page where a licence is accepted.
            MissingPackageError: `datasets` is not installed.
        """
        if self.is_file:
            check_file(resolve(self.path))
            return
        resolve(self.path)
        if not self.splits:
            raise ConfigError(
                f"splits is missing: {self.path} is treated as a data set",
                f"Give the splits to read, such as [test], or a file of {', '.join(sorted(READERS))}",
                part=self,
            )
        self.data_set.check()

    def rows(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the rows in order, with their places; memory does not grow with their number.

        Raises:
            DataError: the file or data set cannot be read.
        """
        if self.is_file:
            yield from read_table(resolve(self.path))
            return
        names: list[str | None] = [*self.names] if self.names else [None]
        for name in names:
            for split in self.splits or []:
                for place, row in self.data_set.rows(name, split):
                    yield place, {"config": name, "split": split, **row}

    def describe(self) -> dict[str, Any]:
        """Describe the source in manifests: a file's hash, or a data set's id and commit (None if unknown)."""
        if self.is_file:
            file = resolve(self.path)
            return {"path": self.path if is_packaged(self.path) else file.name, "hash": hash_file(file)}
        return {**self.data_set.describe(), "names": self.names, "splits": self.splits, "options": self.options}

    @cached_property
    def data_set(self) -> DataSet:
        """The data set of `path`; its commit is resolved once."""
        return DataSet(self.path, self.revision, self.options)
