"""Check what user-defined classes return; errors name their file and line.

Each base class has one method that calls the subclass and checks the result; all callers use that method.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from grsap.errors import ConfigError
from grsap.files import hash_file


class PluginError(ConfigError):
    """A class of the settings returns a value that its base class does not allow.

    Args:
        plugin: the object.
        method: name of the method or property.
        problem: what is wrong, such as `returns a dict, not a Schedule`.
        remedy: what to do about it.
    """

    def __init__(self, plugin: object, method: str, problem: str, remedy: str) -> None:
        kind = type(plugin)
        place = source_place(getattr(kind, method, kind)) or source_place(kind)  # an attribute has no place
        super().__init__(f"{type(plugin).__name__}.{method}{f' ({place})' if place else ''} {problem}", remedy)


@runtime_checkable
class Stateful(Protocol):
    """An object of the settings whose state is saved in checkpoints; the state must be equal on all ranks."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain values (numbers, strings, lists, dicts) and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        ...


def source_place(member: object) -> str:
    """Return file and line of the definition of a class, function or property; empty if unknown."""
    member = member.fget if isinstance(member, property) else member
    try:
        file = inspect.getsourcefile(member)  # type: ignore[arg-type]
        line = inspect.getsourcelines(member)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    relative = os.path.relpath(str(file))
    return f"{file if relative.startswith('..') else relative}, line {line}"


def source_hash(kind: type | ModuleType) -> str:
    """Return the hash of the source file of a class or module; empty if it has none."""
    try:
        return hash_file(str(inspect.getsourcefile(kind)))
    except (OSError, TypeError):
        return ""


def plain_value(value: Any) -> Any:
    """Return a JSON value that identifies a setting: equal in each process, and another one for other settings."""
    for name in ("content_identity", "identity"):
        if hasattr(value, name):
            return getattr(value, name)()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_value(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    # The text of other objects is their address in memory.
    return type(value).__qualname__ if " object at 0x" in str(value) else str(value)


def described(value: object) -> str:
    """Describe a value for messages by its type, and its shape if it has one."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    name = "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' or kind == 'ndarray' else 'a'} {kind}"
    return name if shape is None else f"{name} of shape {tuple(shape)}"


def is_finite(value: object) -> bool:
    """Return whether a value is a finite real number; not for booleans and tensors."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(float(value))
