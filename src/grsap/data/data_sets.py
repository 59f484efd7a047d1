"""Data sets that the package `datasets` loads, with text as the files have it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from grsap.errors import DataError, MissingPackageError

Options = dict[str, str | bool | int | list[str] | None]
"""How a data set's files are read, such as `{"sep": "\\t"}`."""


def import_datasets(path: str) -> Any:
    """The package `datasets`; raises MissingPackageError, which names `path`, without it."""
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError(
            f"{path} is a data set, and the package datasets is not installed", "Install grsap with the extra `hub`"
        ) from error
    return datasets


def load_split(path: str, name: str | None, revision: str | None, split: str, options: Options | None = None) -> Any:
    """The rows of a split of a data set on the Hub, of a folder of files, or of a folder by `save_to_disk`.

    Columns of CSV files come as text: what looks like a number or like nothing (`007`, `NA`) is not converted.

    Raises:
        DataError: it cannot be loaded, or its licence was not accepted; says what `datasets` says.
        MissingPackageError: `datasets` is not installed.
    """
    datasets = import_datasets(path)
    try:
        saved = _load_saved(datasets, path, split)
        if saved is not None:
            return saved
        settings: dict[str, Any] = dict(options or {})
        if datasets.load_dataset_builder(path, name, revision=revision, **settings).name == "csv":
            settings |= _as_text(datasets, path, name, revision, split, settings)
        return datasets.load_dataset(path, name, revision=revision, split=split, **settings)
    except Exception as error:  # readers of many formats and the Hub's client stand behind these calls
        if "gated" in str(error):
            raise gated(path) from error
        raise DataError(
            f"data set {path} (name {name}, split {split}) cannot be loaded: {_reason(error)}",
            f"Check path, name, split and revision, and its files{_see(path)}",
        ) from error


def page_of(path: str) -> str:
    """The page of a data set on the Hub, where a licence is accepted; empty for folders."""
    is_hub_id = path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()
    return f"https://huggingface.co/datasets/{path}" if is_hub_id else ""


def gated(path: str) -> DataError:
    """What to say of a data set whose licence was not accepted."""
    return DataError(
        f"data set {path} is gated, and this login has no access to it",
        f"Accept its licence at {page_of(path)}, then log in with `hf auth login` or set HF_TOKEN",
    )


def _load_saved(datasets: Any, path: str, split: str) -> Any:
    """The rows of a folder that `save_to_disk` wrote; None if it is none."""
    folder = Path(path).expanduser()
    if (folder / "dataset_dict.json").is_file():
        splits = datasets.load_from_disk(str(folder))
        if split not in splits:
            raise ValueError(f"it was saved with the splits {', '.join(splits)}")
        return splits[split]
    return datasets.load_from_disk(str(folder)) if (folder / "state.json").is_file() else None


def _as_text(datasets: Any, path: str, name: str | None, revision: str | None, split: str, settings: Any) -> Any:
    """Options by which all columns of a data set of CSV files are read as they stand."""
    first = re.split(r"[\[+]", split)[0].strip()  # of "train[:10]" or "train+test"; a stream takes names alone
    stream = datasets.load_dataset(path, name, revision=revision, split=first, streaming=True, **settings)
    columns = list(next(iter(stream), {}))
    if not columns:
        return {}
    return {
        "features": datasets.Features({column: datasets.Value("string") for column in columns}),
        "keep_default_na": False,
        "na_filter": False,
    }


def _reason(error: BaseException) -> str:
    """What the error at the bottom says: `datasets` wraps what its readers say."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


def _see(path: str) -> str:
    return f"; see {page_of(path)}" if page_of(path) else ""
