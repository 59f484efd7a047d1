"""Report wrong keys and broken config files, with file and nearest key, before the settings' parser reads them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from grsap.commands.scalars import check_scalars
from grsap.errors import ConfigError
from grsap.yaml_text import read_yaml

CONFIG_OPTIONS = ("--config", "-c")
_SPEC = {"class_path", "init_args", "dict_kwargs"}
"""Keys of a class specification. The keys below them depend on the class, and are checked by the parser."""


def option_values(args: Sequence[str], *names: str) -> Iterator[tuple[str, str]]:
    """Yield (option, value) of each occurrence of `names`, in order, as `--option value` or `--option=value`."""
    for word, following in zip_longest(args, args[1:]):
        option, equals, value = word.partition("=")
        if option in names and (equals or following is not None):
            yield option, value if equals else following


def config_files(args: Sequence[str]) -> Iterator[str]:
    """Yield the files named by `--config`, in order."""
    return (value for _, value in option_values(args, *CONFIG_OPTIONS))


def check_config_file(path: str, parser: ArgumentParser, linked: Mapping[str, str]) -> None:
    """Check that a config is a YAML mapping and that its fixed keys exist.

    Args:
        path: the file.
        parser: has the keys and their defaults.
        linked: keys whose values are copied from another key -> that key.

    Raises:
        ConfigError: names the file, the key or line, and the nearest key that exists.
    """
    if "://" in path:
        raise ConfigError(
            f"--config {path} is a URL", "Configs are read from local files only: download and read it first"
        )
    try:
        config = read_yaml(Path(path))
    except FileNotFoundError as error:
        raise ConfigError(f"--config {path}: no such file", "Paths are taken from the working directory") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}", "Give a YAML file") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ConfigError(f"--config {path}{line}: not YAML: {error.problem}", "Correct the syntax") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path}: not YAML: {error}", "Correct the syntax") from error
    if not isinstance(config, dict):
        raise ConfigError(f"--config {path} is not a mapping of settings", "See configs/recipes for examples")
    check_scalars(config, f"--config {path}: ")
    for key, source in linked.items():
        if _holds(config, key):
            raise ConfigError(f"--config {path}: {key} is copied from {source}", f"Set {source}, and leave {key} out")
    for key, name in _keys_beside_class(config, ""):
        raise ConfigError(f"--config {path}: {key} is beside class_path", f"Put it into init_args: {{{name}: ...}}")
    known = parser.get_defaults(skip_validation=True)
    for key in _unknown_keys(config, known, ""):
        raise ConfigError(f"--config {path}: {key} is not a setting", nearest_remedy(key, known, parser.prog))


def nearest_remedy(key: str, known: Namespace, prog: str = "grsap fit") -> str:
    """Return a remedy for an unknown key: the nearest sibling, or where to find all keys."""
    parent, _, leaf = key.rpartition(".")
    siblings = known if not parent else known.get(parent)
    names = list(vars(siblings)) if isinstance(siblings, Namespace) else []
    close = difflib.get_close_matches(leaf, names, 1, 0.5)
    if close:
        return f"Did you mean {parent + '.' if parent else ''}{close[0]}? All settings: {prog} --print_config"
    return f"Keys here are {', '.join(names)}" if 0 < len(names) <= 15 else f"All settings: {prog} --print_config"


def _unknown_keys(config: Mapping[str, Any], known: Namespace, prefix: str) -> Iterator[str]:
    if _SPEC & set(config) or "class_path" in known:
        return
    for key, value in config.items():
        if not isinstance(key, str) or key not in known:
            yield f"{prefix}{key}"
        elif isinstance(value, dict) and isinstance(known[key], Namespace):
            yield from _unknown_keys(value, known[key], f"{prefix}{key}.")


def _keys_beside_class(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield (path, name) of each key beside a `class_path`; the parser would take it for one of the base class."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _keys_beside_class(each, f"{prefix}[{number}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            if isinstance(value.get("class_path"), str) and key not in _SPEC:
                yield path, str(key)
            yield from _keys_beside_class(each, path)


def _holds(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
