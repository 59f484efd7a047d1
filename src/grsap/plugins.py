"""Checks of what user-defined classes return; errors name their file and line.

Each base class checks the results of its subclasses in one place: the only one from which the others take them.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
from typing import Any, Protocol, runtime_checkable

from grsap.errors import ConfigError


class PluginError(ConfigError):
    """A class of the settings returns a value that its base class does not allow.

    Args:
        plugin: the object.
        method: the method or property that is wrong.
        problem: such as `returns a dict, not a Schedule`.
        remedy: what to do about it.
    """

    def __init__(self, plugin: object, method: str, problem: str, remedy: str) -> None:
        place = source_place(getattr(type(plugin), method, type(plugin)))
        super().__init__(f"{type(plugin).__name__}.{method}{f' ({place})' if place else ''} {problem}", remedy)


@runtime_checkable
class Stateful(Protocol):
    """An object of a setting whose state is part of a checkpoint, and the same on all ranks."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain values (numbers, texts, lists, dicts) and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        ...


def source_place(member: object) -> str:
    """File and line at which a class, function or property is defined; empty if that is not known."""
    member = member.fget if isinstance(member, property) else member
    try:
        file = inspect.getsourcefile(member)  # type: ignore[arg-type]
        line = inspect.getsourcelines(member)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    relative = os.path.relpath(str(file))
    return f"{file if relative.startswith('..') else relative}, line {line}"


def described(value: object) -> str:
    """A value by its type, and its shape if it has one, for messages."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    name = "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' or kind == 'ndarray' else 'a'} {kind}"
    return name if shape is None else f"{name} of shape {tuple(shape)}"


def is_finite(value: object) -> bool:
    """Whether a value is a real number, and neither infinite nor a boolean. A tensor of one element is none."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(float(value))
