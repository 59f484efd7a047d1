"""Reject values that the settings' parser accepts: null where the type excludes it, and groups that are no mapping."""

from __future__ import annotations

import importlib
import typing
from argparse import ArgumentError
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from grsap.errors import ConfigError


def check_values(parser: ArgumentParser, settings: Namespace) -> None:
    """Check parsed settings for null and for groups that are no mapping.

    Raises:
        ArgumentError: a setting is null and must not be; names its key.
        ConfigError: a group of settings is not a mapping; names its key.
    """
    check_groups(settings)
    # The parser uses None for "not given". With a sentinel of its own for that, it checks null like any other value.
    # Only during this check: otherwise classes would get the sentinel for optional arguments without a default.
    set_parsing_settings(unset_sentinel=True)
    try:
        parser.validate(settings)
    except TypeError as error:
        raise ArgumentError(None, str(error).replace("Got value: None", "Got value: null")) from error
    finally:
        set_parsing_settings(unset_sentinel=False)


def check_groups(settings: Any, key: str = "") -> None:
    """Check that each group of settings within the arguments of a class is a mapping.

    Args:
        settings: the parsed settings, or a part of them.
        key: dotted key of the part.

    Raises:
        ConfigError: a group is null, a list or a single value; names its key.
    """
    if isinstance(settings, list):
        for number, value in enumerate(settings):
            check_groups(value, f"{key}.{number}")
        return
    if not isinstance(settings, Namespace):
        return
    values = vars(settings)
    if isinstance(values.get("class_path"), str) and isinstance(values.get("init_args"), Namespace):
        given = vars(values["init_args"])
        for name in _groups_of(values["class_path"]):
            if name in given and not isinstance(given[name], (Namespace, dict)):
                raise ConfigError(
                    f"{key}.init_args.{name} is {given[name]!r}, but it must be a mapping of settings",
                    "Write `key: value` lines below it, or leave it out",
                )
    for name, value in values.items():
        check_groups(value, f"{key}.{name}" if key else name)


def _groups_of(class_path: str) -> Iterator[str]:
    """Yield the arguments of a class whose type is a dataclass and excludes null."""
    module, _, name = class_path.rpartition(".")
    try:
        hints = typing.get_type_hints(getattr(importlib.import_module(module), name).__init__)
    except (ImportError, AttributeError, NameError, TypeError):  # a function, or hints that only type checkers resolve
        return
    yield from (name for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint))
