"""All settings that there are, found in the parsers and in the signatures of the classes that settings can name."""

from __future__ import annotations

import datetime
import importlib
import inspect
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union

from resources.site.parsers import parser_of


def settings_of(verb: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, type) of each setting that can be given."""
    for action in parser_of(verb)._actions:
        if type(action).__name__ == "ActionTypeHint":
            yield action.dest, action._typehint


def classes_of(package: str, base: str) -> Iterator[type]:
    """The classes of a package that a setting of type `base` can name; `base` has its module, if it is another."""
    module = importlib.import_module(package)
    place, _, name = base.rpartition(".")
    kind = getattr(importlib.import_module(place or package), name)
    for name in module.__all__:
        found = getattr(module, name)
        if isinstance(found, type) and issubclass(found, kind) and not inspect.isabstract(found):
            yield found


def arguments_of(kind: type) -> Iterator[tuple[str, Any]]:
    """(name, type) of each argument of a class."""
    hints = typing.get_type_hints(kind.__init__)
    for name in inspect.signature(kind).parameters:
        if name in hints:
            yield name, hints[name]


def options_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(option for each in typing.get_args(hint) for option in options_of(each))
    return (hint,)


def is_numeric(hint: Any) -> bool:
    """Whether a setting is a number, or a number or null."""
    options = set(options_of(hint)) - {type(None)}
    return bool(options) and options <= {int, float}


def accepts(hint: Any, value: Any) -> bool:
    """Whether a setting of a type may have a value, as far as the type tells; a class may also be named by a text."""
    return any(_fits(option, value) for option in options_of(hint))


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin in (list, tuple, set, Iterable):
        return isinstance(value, list) and all(accepts(arguments[0], each) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(accepts(arguments[1], each) for each in value.values())
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, bool, str, type(None), datetime.timedelta):
        return type(value) is hint
    return False
