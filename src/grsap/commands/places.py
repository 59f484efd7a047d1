"""Where in the settings each part was built, so that an error of a part names the key as the user writes it.

A part (a model, a judge, a task) knows its own arguments only: its errors say `path ...`. This module puts
`subjects[0].init_args.base.` in front. Standard library only.
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


class Refused:
    """Takes the place of a part that refused its settings, until it is known where in the settings that is."""

    def __init__(self, kind: Callable[..., Any], error: UserError) -> None:
        self.kind = kind
        self.error = error


class _Parts:
    """The parts of the command that runs: owner and steps from it to the part, by the part's id."""

    def __init__(self) -> None:
        self.settings: Any = None
        self.linked: Mapping[str, str] = {}
        self.is_building = False
        # Holds the part too: its id is its own as long as it lives.
        self.owners: dict[int, tuple[object, object, Steps]] = {}

    def adopt(self, owner: object, values: Any) -> Refused | None:
        """Record the parts among an owner's arguments; returns the first that refused its settings."""
        refused = None
        for steps, part in _leaves(values, ()):
            self.owners[id(part)] = (part, owner, steps)
            if refused is None and isinstance(part, Refused):
                refused = part
        return refused

    def steps_to(self, part: object) -> Steps | None:
        """From the root of the settings; None for an object that the settings did not build."""
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
    """Inside, objects are built of settings by `build_part`.

    Args:
        settings: as parsed.
        linked: keys that follow another one, by the key they follow; the latter is the one the user wrote.

    Yields:
        A function to call with what was built. It raises the error of the first part that refused its settings.
    """
    _parts.__init__()  # type: ignore[misc]
    _parts.settings, _parts.linked, _parts.is_building = settings, linked or {}, True

    def settle(values: Any) -> None:
        _parts.is_building = False
        refused = _parts.adopt(_parts, values)
        if refused is not None:
            raise name_place(refused.error)

    try:
        yield settle
    finally:
        _parts.is_building = False


def build_part(kind: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """An object of a class, and where it got its arguments from; `Refused` if it or an argument refuses its settings.

    Raises:
        UserError: the same, of an object that is made after all settings have become objects.
    """
    given = {str(number): value for number, value in enumerate(args)} | dict(kwargs)
    refused = next((part for _, part in _leaves(given, ()) if isinstance(part, Refused)), None)
    error = None if refused is None else refused.error
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
    stand_in = Refused(kind, error)
    _parts.adopt(stand_in, given)
    if id(error.part) not in _parts.owners:  # not an argument's, but of the object that could not be built
        error.part = stand_in
    return stand_in


def name_place(error: UserError) -> UserError:
    """Put the place of the error's part in front of the key that the error begins with; returns the error."""
    part, error.part = error.part, None
    steps, key = _parts.steps_to(part), re.match(r"\w+", error.problem)
    kind: Any = part.kind if isinstance(part, Refused) else type(part)
    if steps and key is not None and key[0] in inspect.signature(kind).parameters:
        place = f"{_spelled(_parts.settings, steps)}.{key[0]}"
        error.reword(_parts.linked.get(place, place) + error.problem[key.end() :])
    return error


def _spelled(settings: Any, steps: Steps) -> str:
    """Steps as a dotted key, with `init_args` where a class is named."""
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
    """The objects in nested lists and mappings, with the steps to each."""
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
