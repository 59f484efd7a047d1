"""Benchmark specs as YAML files: the user's by path, or those in the package by name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from grsap.embedded import resolve
from grsap.errors import ConfigError, DataError
from grsap.evaluation.benchmark_spec import BenchmarkSpec
from grsap.yaml_text import read_yaml

CARRIED = "embedded:configs/benchmarks"
EXTENDS = "extends"
"""Key for the spec that a spec changes; a path is relative to the working directory, as all paths are."""


def carried_benchmarks() -> list[str]:
    """Return the names of the specs in the package."""
    return sorted(path.stem for path in resolve(CARRIED).glob("*.yaml"))


def load_benchmark(name: str) -> BenchmarkSpec:
    """Read a spec; reads no rows.

    Args:
        name: of a spec in the package, such as `gsm8k`, or path of a YAML file.

    Raises:
        ConfigError: there is no such name, or a key or value is wrong.
        DataError: the file cannot be read.
    """
    values, path = _values(name)
    spec: BenchmarkSpec = _build(BenchmarkSpec, values, "", path)
    return spec


def _values(name: str, extended: tuple[str, ...] = ()) -> tuple[Any, Path]:
    """Return the keys of a spec, merged over those of the spec that it extends, and its file."""
    if Path(name).suffix in (".yaml", ".yml"):
        path = resolve(name)
    elif name in carried_benchmarks():
        path = resolve(f"{CARRIED}/{name}.yaml")
    else:
        close = difflib.get_close_matches(name, carried_benchmarks(), 3, 0.5)
        known = f"Did you mean {' or '.join(close)}" if close else f"There are {', '.join(carried_benchmarks())}"
        raise ConfigError(f"there is no benchmark {name!r}", f"{known}; a spec of your own ends in .yaml")
    try:
        values = read_yaml(path)
    except FileNotFoundError as error:
        raise DataError("no such file", "Check the name of the benchmark spec", path=path) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot be read: {' '.join(str(error).split())}", "Correct the YAML", path=path) from error
    if not isinstance(values, dict) or EXTENDS not in values:
        return values, path
    parent = values.pop(EXTENDS)
    if not isinstance(parent, str) or parent in (*extended, name):
        raise ConfigError(f"{path}: {EXTENDS} is {parent!r}", "Give the name of a carried benchmark, or another file")
    return {**_values(parent, (*extended, name))[0], **values}, path


def _build(cls: type, values: Any, where: str, path: Path) -> Any:
    """Build a dataclass from a mapping; `where` is the path of keys to it, with a dot at the end."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: {where.rstrip('.') or 'the file'} is not a mapping", "Write `key: value` lines")
    known = {item.name: item for item in fields(cls)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            raise ConfigError(
                f"{path}: there is no key {where}{key}",
                f"Did you mean {where}{close[0]}" if close else f"Keys are {', '.join(known)}",
            )
    for key, item in known.items():
        if key not in values and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{path}: the key {where}{key} is missing", "Add it; see docs/formats.md")
    hints = get_type_hints(cls)
    return cls(**{key: _value(hints[key], value, f"{where}{key}", path) for key, value in values.items()})


def _value(hint: Any, value: Any, key: str, path: Path) -> Any:
    """Check a value against its type; build the dataclass of the type from a mapping."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if is_dataclass(option) and isinstance(option, type) and isinstance(value, Mapping):
            return _build(option, value, f"{key}.", path)
    if not any(_fits(option, value) for option in options):
        raise ConfigError(f"{path}: {key} is {value!r}", f"Give {' or '.join(map(_describe, options))}")
    return value


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(option, value) for option in arguments)
    if origin is Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(arguments[0], each) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(arguments[0], name) and _fits(arguments[1], each) for name, each in value.items()
        )
    return type(value) is hint


def _describe(hint: Any) -> str:
    """Return the name of a type in messages."""
    names = {str: "a text", int: "a whole number", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return {list: "a list", dict: "a mapping"}.get(get_origin(hint), "a mapping")
