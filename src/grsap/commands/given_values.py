"""Values that the settings' parser lets pass: null where a type has none, and no mapping where a group must be."""

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
    """Check what the parser does not.

    Raises:
        ArgumentError: a setting is null and must not be; names its key.
        ConfigError: a group of settings is no mapping; names its key.
    """
    check_groups(settings)
    # The parser takes null for "not given". With a mark of its own for that, it checks null like any other value.
    # The mark is on for this check only: else a class would get it for an argument without a default that may be null.
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
        settings: what the parser made of the config, or a part of it.
        key: dotted, of the part.

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
                    f"{key}.init_args.{name} is {given[name]!r}, and must be a mapping of settings",
                    "Write `key: value` lines below it, or leave it out",
                )
    for name, value in values.items():
        check_groups(value, f"{key}.{name}" if key else name)


def _groups_of(class_path: str) -> Iterator[str]:
    """The arguments of a class that are groups: of a dataclass, and not null."""
    module, _, name = class_path.rpartition(".")
    try:
        hints = typing.get_type_hints(getattr(importlib.import_module(module), name).__init__)
    except (ImportError, AttributeError, NameError, TypeError):  # a function, or hints that only a type checker reads
        return
    yield from (name for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint))
