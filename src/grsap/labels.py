"""Read labels of rows (true, false or unknown) from any kind of file. Standard library only."""

from __future__ import annotations

from pathlib import Path

from grsap.errors import DataError

NULL_TEXTS = ("", "none", "nan", "null")
_WORDS = dict.fromkeys(("true", "1", "1.0", "yes"), True) | dict.fromkeys(("false", "0", "0.0", "no"), False)


def is_null(value: object) -> bool:
    """Return whether a cell has no value: null, NaN, empty, or one of the words in `NULL_TEXTS`."""
    if value is None or isinstance(value, str):
        return value is None or value.strip().lower() in NULL_TEXTS
    return isinstance(value, float) and value != value


def read_label(value: object, name: str, *, path: str | Path | None = None, line: int | None = None) -> bool | None:
    """Read a label as True, False, or None for unknown.

    Accepted are booleans, 0 and 1, and the words true, false, yes, no, 0, 1 in any case. Python's own truth of values
    is not used: it takes 0.5 or a non-empty list as true.

    Args:
        value: the cell.
        name: its column, for errors.
        path: its file, for errors.
        line: its line, for errors.

    Raises:
        DataError: the value is not accepted.
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
    """Raise DataError unless `value` is None or in `allowed`."""
    if value is not None and value not in allowed:
        raise DataError(f"{name} is {value!r}", f"Use {', '.join(allowed)}, or leave it out", path=path, line=line)
