"""Record where in the settings each part was built, so that its errors name the full key.

A part (a model, a judge, a task) knows its own arguments only: its errors say `path ...`. This module prepends
`subjects[0].init_args.base.`. The parser calls instantiators innermost first and without the key, so the key is known
only when the outermost object is built. Standard library only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from grsap.errors import UserError

Steps = tuple[str | int, ...]
_PLAIN = (str, bytes, int, float, bool, type(None), type)


class Rejected:
    """Placeholder for a part that rejected its settings, until its key is known."""

    def __init__(self, kind: Callable[..., Any], error: UserError) -> None:
        self.kind = kind
        self.error = error


class _Parts:
    """The parts that the settings of this command built.

    Args:
        settings: as parsed.
        linked: keys whose values are copied from another key -> that key, which is the one that the user wrote.
    """

    def __init__(self, settings: Any = None, linked: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.linked = linked or {}
        self.is_building = settings is not None
        # id of a part -> (the part, its owner, steps from the owner). Holding the part keeps its id unique.
        self.owners: dict[int, tuple[object, object, Steps]] = {}

    def adopt(self, owner: object, values: Any) -> Rejected | None:
        """Record the parts among an owner's arguments; return the first placeholder among them."""
        rejected = None
        for steps, part in _leaves(values, ()):
            self.owners[id(part)] = (part, owner, steps)
            if rejected is None and isinstance(part, Rejected):
                rejected = part
        return rejected

    def steps_to(self, part: object) -> Steps | None:
        """Return the steps from the root of the settings; None for an object that the settings did not build."""
        steps: Steps = ()
        while part is not self:
            if id(part) not in self.owners:
                return None
            _, part, own = self.owners[id(part)]
            steps = own + steps
        return steps


_parts = _Parts()


@contextmanager
def building(settings: Any, linked: Mapping[str, str] | None = None) -> Iterator[Callable[[Any], None]]:
    """Record the objects that `build_part` builds inside the block.

    Args:
        settings: see `_Parts`.
        linked: see `_Parts`.

    Yields:
        A function to call with the outermost objects. It raises the error of the first part that rejected its settings.
    """
    global _parts
    parts = _parts = _Parts(settings, linked)

    def settle(values: Any) -> None:
        parts.is_building = False
        rejected = parts.adopt(parts, values)
        if rejected is not None:
            raise name_place(rejected.error)

    try:
        yield settle
    finally:
        parts.is_building = False


def build_part(kind: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Build an object and record its arguments; return `Rejected` if it or one of its arguments rejects its settings.

    Raises:
        UserError: an object that is built outside of `building`, such as the optimizer, rejects its settings.
    """
    given = {str(number): value for number, value in enumerate(args)} | dict(kwargs)
    rejected = next((part for _, part in _leaves(given, ()) if isinstance(part, Rejected)), None)
    error = None if rejected is None else rejected.error
    if error is None:
        try:
            made = kind(*args, **kwargs)
        except UserError as raised:
            if not _parts.is_building:
                raise
            error = raised
        else:
            _parts.adopt(made, given)
            return made
    placeholder = Rejected(kind, error)
    _parts.adopt(placeholder, given)
    if id(error.part) not in _parts.owners:  # an error of this object, not of one of its arguments
        error.part = placeholder
    return placeholder


def name_place(error: UserError) -> UserError:
    """Prepend the key of the error's part to the argument that the error begins with; return the error."""
    part, error.part = error.part, None
    steps, key = _parts.steps_to(part), re.match(r"\w+", error.problem)
    kind: Any = part.kind if isinstance(part, Rejected) else type(part)
    if steps and key is not None and key[0] in inspect.signature(kind).parameters:
        place = f"{_spelled(_parts.settings, steps)}.{key[0]}"
        error.reword(_parts.linked.get(place, place) + error.problem[key.end() :])
    return error


def _spelled(settings: Any, steps: Steps) -> str:
    """Return the dotted key of steps, with `init_args` where the settings name a class."""
    text, node = "", settings
    for step in (*steps, None):
        if _get(node, "class_path") is not None:
            text, node = f"{text}.init_args", _get(node, "init_args")
        if step is not None:
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
            node = _get(node, step)
    return text.removeprefix(".")


def _get(node: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return node[step] if isinstance(node, (list, tuple)) and step < len(node) else None
    if isinstance(node, Mapping):
        return node.get(step)
    return getattr(node, "__dict__", {}).get(step)  # jsonargparse's Namespace


def _leaves(values: Any, steps: Steps) -> Iterator[tuple[Steps, object]]:
    """Yield the objects in nested lists and mappings, with the steps to each."""
    if type(values).__name__ == "Namespace":
        values = vars(values)
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _leaves(value, (*steps, str(name)))
    elif isinstance(values, (list, tuple)):
        for number, value in enumerate(values):
            yield from _leaves(value, (*steps, number))
    elif not isinstance(values, _PLAIN):
        yield steps, values
