"""Where rows come from: a file of one's own, one that the package carries, or a data set on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grsap.data.columns import Place
from grsap.data.data_sets import Options, gated, import_datasets, load_split, page_of
from grsap.data.tables import READERS, read_table
from grsap.embedded import PREFIX, resolve
from grsap.errors import ConfigError, DataError
from grsap.files import hash_file

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class RowSource:
    """Rows of a file, or of a data set that the package `datasets` loads (extra `hub`).

    Args:
        path: a `.jsonl`, `.csv` or `.parquet` file, `embedded:NAME`, the id of a data set on the Hub, or a folder.
        names: configurations of the data set, such as `[main]`. Rows of several follow each other.
        splits: of the data set, such as `[test]`.
        revision: branch, tag or commit of the data set; give a commit to get the same rows for ever.
        options: how the data set's files are read, such as `{sep: "\\t"}`.

    For a file only `path` counts. Rows of a data set have the columns `config` and `split` besides their own, which say
    where they stood.
    """

    path: str
    names: list[str] | None = None
    splits: list[str] | None = None
    revision: str | None = None
    options: Options | None = None

    @property
    def is_file(self) -> bool:
        """Whether `path` is a file rather than a data set."""
        return self.path.startswith(PREFIX) or Path(self.path).suffix.lower() in READERS

    @property
    def page(self) -> str:
        """The data set's page, where a licence is accepted; empty for files and folders."""
        return "" if self.is_file else page_of(self.path)

    def check(self) -> None:
        """Find what is wrong before any row is read: a missing file or package, a licence that was not accepted.

        Raises:
            ConfigError: a data set without a split.
            DataError: no such file or data set, or no access to it; names the page where a licence is accepted.
            MissingPackageError: `datasets` is not installed.
        """
        file = resolve(self.path)
        if self.is_file:
            if not file.is_file():
                raise DataError("no such file", "Check source.path; it is taken from the working directory", path=file)
            return
        if not self.splits:
            raise ConfigError(f"source.splits of {self.path} is missing", "Give the splits to read, such as [test]")
        import_datasets(self.path)
        _ = self.commit

    def rows(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """The rows in their order, with their place; memory does not grow with their number.

        Raises:
            DataError: file or data set cannot be read.
        """
        if self.is_file:
            file = resolve(self.path)
            try:
                yield from ((Place(file, line), row) for line, row in read_table(file))
            except OSError as error:
                raise DataError(f"cannot be read: {error.strerror}", "Check that you may read it", path=file) from error
            return
        names: list[str | None] = [*self.names] if self.names else [None]
        for name in names:
            for split in self.splits or []:
                place = " ".join(part for part in (self.path, name, f"[{split}]") if part)
                for number, row in enumerate(load_split(self.path, name, self.commit, split, self.options), 1):
                    yield Place(place, number), {"config": name, "split": split, **row}

    def describe(self) -> dict[str, Any]:
        """For manifests: a file's hash, or a data set's id and commit (None if it is not known)."""
        if self.is_file:
            file = resolve(self.path)
            return {"path": self.path if self.path.startswith(PREFIX) else file.name, "hash": hash_file(file)}
        return {
            "path": self.path if self.page else Path(self.path).name,
            "names": self.names,
            "splits": self.splits,
            "options": self.options,
            "revision": self.revision,
            "commit": self.commit if self.commit and _COMMIT.fullmatch(self.commit) else None,
        }

    @cached_property
    def commit(self) -> str | None:
        """The commit that `revision` names now; `revision` itself for files, folders, and where HF_HUB_OFFLINE is set.

        Raises:
            DataError: the data set does not exist, its licence was not accepted, or the Hub does not answer.
        """
        if not self.page:
            return self.revision
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

        if constants.HF_HUB_OFFLINE:
            return self.revision
        api = HfApi()
        try:
            info = api.dataset_info(self.path, revision=self.revision)
            if info.gated:
                api.auth_check(self.path, repo_type="dataset")
            return info.sha
        except GatedRepoError as error:
            raise gated(self.path) from error
        except HfHubHTTPError as error:
            raise DataError(
                f"data set {self.path} (revision {self.revision}) is not to be had: {_first_line(error)}",
                f"Check source.path and source.revision; if it is private, log in with `hf auth login`: {self.page}",
            ) from error
        except Exception as error:  # what the Hub's client raises for a broken connection depends on its version
            raise DataError(
                f"the Hub cannot be asked for {self.path}: {_first_line(error)}",
                "Check the connection, or set HF_HUB_OFFLINE=1 to take what was fetched before",
            ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
