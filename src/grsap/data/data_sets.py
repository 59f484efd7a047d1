"""Data sets that the package `datasets` loads, at a fixed commit, with the text of their files unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grsap.data.columns import Place
from grsap.errors import DataError, MissingPackageError, first_line

Options = dict[str, str | bool | int | list[str] | None]
"""Arguments of `datasets.load_dataset`, such as `{"sep": "\\t"}`."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class DataSet:
    """A data set on the Hugging Face Hub, a folder of files, or a folder written by `save_to_disk`.

    Args:
        path: id or folder.
        revision: branch, tag or commit on the Hub.
        options: arguments of `datasets.load_dataset`.
    """

    path: str
    revision: str | None = None
    options: Options | None = None

    @property
    def page(self) -> str:
        """Return the address of the Hub page, where a licence is accepted; empty for a folder."""
        path = self.path
        is_hub_id = path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()
        return f"https://huggingface.co/datasets/{path}" if is_hub_id else ""

    def check(self) -> None:
        """Check access without reading any row.

        Raises:
            DataError: see `commit`.
            MissingPackageError: `datasets` is not installed.
        """
        import_datasets(self.path)
        _ = self.commit

    def rows(self, name: str | None, split: str) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the rows of a split with their places; raise as `load` does."""
        place = " ".join(part for part in (self.path, name, f"[{split}]") if part)
        for number, row in enumerate(self.load(name, split), 1):
            yield Place(place, number), row

    def load(self, name: str | None, split: str) -> Any:
        """Load a split, downloading it if necessary.

        Columns of CSV files are read as text: `007` and `NA` are not converted to a number or null.

        Raises:
            DataError: it cannot be loaded, or its licence was not accepted; quotes the error of `datasets`.
            MissingPackageError: `datasets` is not installed.
        """
        datasets = import_datasets(self.path)
        commit = self.commit
        try:
            saved = self._load_saved(datasets, split)
            if saved is not None:
                return saved
            settings: dict[str, Any] = dict(self.options or {})
            if datasets.load_dataset_builder(self.path, name, revision=commit, **settings).name == "csv":
                settings |= self._as_text(datasets, name, split, settings)
            return datasets.load_dataset(self.path, name, revision=commit, split=split, **settings)
        except Exception as error:  # readers and the Hub's client each raise their own kinds of errors
            if "gated" in str(error):
                raise self._gated() from error
            see = f"; see {self.page}" if self.page else ""
            raise DataError(
                f"data set {self.path} (name {name}, split {split}) cannot be loaded: {_reason(error)}",
                f"Check path, name, split and revision, and its files{see}",
            ) from error

    @cached_property
    def commit(self) -> str | None:
        """Return the current commit of `revision`; `revision` itself for folders, or if HF_HUB_OFFLINE is set.

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
            raise self._gated() from error
        except HfHubHTTPError as error:
            raise DataError(
                f"data set {self.path} (revision {self.revision}) is not available: {first_line(error)}",
                f"Check its path and revision; if it is private, log in with `hf auth login`: {self.page}",
            ) from error
        except Exception as error:  # the error for a broken connection depends on the version of the Hub's client
            raise DataError(
                f"the request to the Hub for {self.path} failed: {first_line(error)}",
                "Check the connection, or set HF_HUB_OFFLINE=1 to use files that were downloaded before",
            ) from error

    def describe(self) -> dict[str, Any]:
        """Return name, revision and commit (None if unknown), for manifests."""
        return {
            "path": self.path if self.page else Path(self.path).name,
            "revision": self.revision,
            "commit": self.commit if self.commit and _COMMIT.fullmatch(self.commit) else None,
        }

    def _gated(self) -> DataError:
        return DataError(
            f"data set {self.path} is gated, and this login has no access to it",
            f"Accept its licence at {self.page}, then log in with `hf auth login` or set HF_TOKEN",
        )

    def _load_saved(self, datasets: Any, split: str) -> Any:
        """Load the rows of a folder that `save_to_disk` wrote; None for any other path."""
        folder = Path(self.path).expanduser()
        if (folder / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(str(folder))
            if split not in splits:
                raise ValueError(f"its splits are {', '.join(splits)}")
            return splits[split]
        return datasets.load_from_disk(str(folder)) if (folder / "state.json").is_file() else None

    def _as_text(self, datasets: Any, name: str | None, split: str, settings: Any) -> dict[str, Any]:
        """Return options that read all columns of CSV files as text."""
        first = re.split(r"[\[+]", split)[0].strip()  # streams support neither "train[:10]" nor "train+test"
        stream = datasets.load_dataset(self.path, name, revision=self.commit, split=first, streaming=True, **settings)
        columns = list(next(iter(stream), {}))
        if not columns:
            return {}
        return {
            "features": datasets.Features({column: datasets.Value("string") for column in columns}),
            "keep_default_na": False,
            "na_filter": False,
        }


def import_datasets(path: str) -> Any:
    """Import the package `datasets`; raise MissingPackageError, which names `path`, if it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError(
            f"{path} is a data set, but the package datasets is not installed", "Install grsap with the extra `hub`"
        ) from error
    return datasets


def _reason(error: BaseException) -> str:
    """Return the text of the root cause, because `datasets` wraps the errors of its readers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
