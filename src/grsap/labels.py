"""Labels of rows: true, false or unknown, in any kind of file. Standard library only."""

from __future__ import annotations

from pathlib import Path

from grsap.errors import DataError

NULL_TEXTS = ("", "none", "nan", "null")
_WORDS = dict.fromkeys(("true", "1", "1.0", "yes"), True) | dict.fromkeys(("false", "0", "0.0", "no"), False)


def is_null(value: object) -> bool:
    """Whether a cell has no value: null, NaN, empty, or another program's word for it."""
    if value is None or isinstance(value, str):
        return value is None or value.strip().lower() in NULL_TEXTS
    return isinstance(value, float) and value != value


def read_label(value: object, name: str, *, path: str | Path | None = None, line: int | None = None) -> bool | None:
    """A label as true, false, or None for unknown.

    Taken are booleans, 0 and 1, and the words true, false, yes, no, 0, 1 in any case. Nothing else is guessed at: a
    list that is not empty, or 0.5, would be true to Python.

    Args:
        value: the cell.
        name: its column.
        path: its file.
        line: its line there.

    Raises:
        DataError: it is none of these.
    """
    if is_null(value):
        return None
    if isinstance(value, bool):
        return value
    found = _WORDS.get(str(value).strip().lower()) if isinstance(value, int | float | str) else None
    if found is None:
        raise DataError(f"{name} is {value!r}", "Write true or false, or null for unknown", path=path, line=line)
    return found


def check_choice(
    value: object, name: str, allowed: tuple[str, ...], *, path: str | Path | None = None, line: int | None = None
) -> None:
    """Raise DataError unless `value` is None or one of the words allowed."""
    if value is not None and value not in allowed:
        raise DataError(f"{name} is {value!r}", f"Use {', '.join(allowed)}, or leave it out", path=path, line=line)
