"""Reading and checking the rows of a task, which may be a user's class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grsap.data.columns import is_empty
from grsap.data.conversation import ConversationDataModule, Row
from grsap.errors import DataError
from grsap.plugins import PluginError, described, source_place
from grsap.records import PlacedRow, Split, check_text, place_of_row, read_messages
from grsap.text.encoding import EncodedRow


def place_of(task: ConversationDataModule, split: Split) -> str:
    """Return the name of a split's rows in messages."""
    return f"{type(task).__name__}.rows({split!r})"


def read_conversations(task: ConversationDataModule, split: Split, *, required: bool) -> list[Row]:
    """Read the rows of a split, and check their turns.

    Raises:
        DataError: a row is not a mapping, its turns are wrong, an id occurs twice, or a `required` split has no
            row.
    """
    kind = type(task)
    # For a user's class, messages name its file.
    file = "" if kind.__module__.startswith("grsap.") else source_place(kind.rows).rpartition("line ")[0]
    label = f"{file}{place_of(task, split)}"
    rows: list[Row] = []
    seen: set[str] = set()
    for number, row in enumerate(rows_of(task, split), 1):
        if not isinstance(row, Mapping):
            raise DataError(
                f"a {type(row).__name__}, not a mapping", "Yield dicts with messages", path=label, line=number
            )
        path, line = place_of_row(row, label, number)
        _check_switches(row, path, line)
        row_id = str(row.get("id") or "")
        check_text(row_id, "id", path=path, line=line)
        if row_id and row_id in seen:
            raise DataError(
                f"the id {row_id!r} occurs twice", "Give each row an id of its own, or none", path=path, line=line
            )
        seen.add(row_id)
        messages = read_messages(row.get("messages"), path=path, line=line)
        rows.append(PlacedRow({**row, "messages": messages}, path, line))
    if required and not rows:
        raise DataError(f"{label} gives no row", f"Give data.task rows of the split {split}")
    return rows


def rows_of(task: ConversationDataModule, split: Split) -> Iterable[Row]:
    """Call `rows` and check that its result is iterable.

    Raises:
        PluginError: the result is not iterable.
    """
    rows: Any = task.rows(split)
    if not isinstance(rows, Iterable) or isinstance(rows, (str, bytes, Mapping)):
        raise PluginError(
            task, "rows", f"returns {described(rows)} for {split!r}", "Return or yield dicts with messages"
        )
    return rows


def _check_switches(row: Row, path: str | Path, line: int) -> None:
    """Raise DataError if a row sets template arguments: all rows of a run share one template and its settings."""
    for name in ("tools", "functions", "chat_template_kwargs"):
        if not is_empty(row.get(name)):
            remedy = (
                "Set model.base.chat_template_kwargs for the whole run, and remove it from the rows"
                if name == "chat_template_kwargs"
                else "Remove the row, or remove this key from the rows (for a file: ignore_columns) to train without it"
            )
            raise DataError(f"{name} of a single row is not read", remedy, path=path, line=line)


def fingerprint(rows: Iterable[EncodedRow]) -> str:
    """Return a hash of sources, ids, tokens and masks, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.source}\0{row.id}\0{row.length}\0".encode())
        digest.update(row.input_ids.astype("<i4").tobytes())
        digest.update(row.supervised.tobytes())
    return digest.hexdigest()[:16]
