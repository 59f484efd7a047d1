"""Configure the settings' parser: YAML, merging of files, and building of objects."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace, add_instantiator, set_dumper, set_loader

from grsap.commands.blame import users_place
from grsap.commands.config_keys import check_config_file, config_files, nearest_remedy
from grsap.commands.given_values import check_values
from grsap.commands.merging import merge_by_class
from grsap.commands.parsing_errors import class_refusal, settings_read
from grsap.commands.places import build_part
from grsap.commands.scalars import check_scalars
from grsap.errors import ConfigError, GrsapError
from grsap.yaml_text import dump_yaml, load_yaml

Kind = TypeVar("Kind")


def set_up_parsing() -> None:
    """Configure all parsers of this process."""
    set_loader("yaml", load_setting, exceptions=(yaml.YAMLError,))
    set_dumper("yaml", dump_yaml)
    merge_by_class()
    add_instantiator(build, object)


def load_setting(text: str) -> Any:
    """Parse a setting as YAML. A string in braces, such as `{model.path}` of a study, stays a string.

    Raises:
        yaml.YAMLError: see `load_yaml`.
    """
    value = load_yaml(text)
    if isinstance(value, dict) and value and all(each is None for each in value.values()):
        is_text = text.lstrip().startswith("{") or text.strip() == f"{next(iter(value))}:"
        return text if is_text else value
    return value


def build(class_type: type[Kind], *args: Any, **kwargs: Any) -> Kind:
    """Build an object of a class that settings name. The optimizer's is called later, when parameters exist.

    Raises:
        ConfigError: the class rejects its settings, or a user-defined one lacks an attribute.
    """
    try:
        made: Kind = build_part(class_type, args, kwargs)
        if hasattr(made, "check_attributes"):
            made.check_attributes()
        return made
    except GrsapError:
        raise
    except Exception as error:
        if users_place(error) is not None:
            raise
        raise class_refusal(class_type.__name__, error) from error


def parse(parser: ArgumentParser, args: Sequence[str], linked: Mapping[str, str]) -> Namespace:
    """Parse the settings of a command line, after checking the keys of its config files.

    Args:
        parser: of the verb.
        args: the words after the verb.
        linked: see `check_config_file`.

    Raises:
        ConfigError: a file, key, option or value is wrong; names the nearest key that exists.
        argparse.ArgumentError: a value has the wrong type.
    """
    check_order(args)
    for path in config_files(args):
        check_config_file(path, parser, linked)
    try:
        with settings_read():
            settings = parser.parse_args(list(args))
            check_values(parser, settings)
    except ArgumentError as error:
        unknown = re.match(r"unrecognized arguments: --([\w.]+)", str(error))
        if unknown is None:
            raise
        remedy = nearest_remedy(unknown[1], parser.get_defaults(skip_validation=True), parser.prog)
        raise ConfigError(f"--{unknown[1]} is not an option of {parser.prog}", remedy) from error
    check_scalars(settings, skipped=linked)
    return settings


def check_order(args: Sequence[str]) -> None:
    """Check that no option for a class follows one for an argument of the class, which it would reset.

    Raises:
        ConfigError: names both.
    """
    seen: list[str] = []
    for word in args:
        option = word.partition("=")[0].removesuffix(".class_path")
        if not option.startswith("--"):
            continue
        undone = next((each for each in seen if each.startswith(f"{option}.")), None)
        if undone is not None:
            given = word.partition("=")[0]
            raise ConfigError(f"{given} follows {undone}, which it would reset", "Give the class first")
        seen.append(option)
