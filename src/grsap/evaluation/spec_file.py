"""Benchmark specs as YAML files: one's own, or those that the package carries, by name."""

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
"""The key of a spec that changes another one; it is taken from the working directory, as all files are."""


def carried_benchmarks() -> list[str]:
    """The names of the specs that the package carries."""
    return sorted(path.stem for path in resolve(CARRIED).glob("*.yaml"))


def load_benchmark(name: str) -> BenchmarkSpec:
    """Read a spec; its rows are not looked at.

    Args:
        name: of a spec that the package carries, such as `gsm8k`, or a YAML file.

    Raises:
        ConfigError: there is no such name, or a key or value is wrong.
        DataError: the file cannot be read.
    """
    values, path = _values(name)
    spec: BenchmarkSpec = _build(BenchmarkSpec, values, "", path)
    return spec


def _values(name: str, extended: tuple[str, ...] = ()) -> tuple[Any, Path]:
    """The keys of a spec, over those of the spec that it extends, and its file."""
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
        raise DataError(f"cannot be read: {' '.join(str(error).split())}", "Mend the YAML", path=path) from error
    if not isinstance(values, dict) or EXTENDS not in values:
        return values, path
    parent = values.pop(EXTENDS)
    if not isinstance(parent, str) or parent in (*extended, name):
        raise ConfigError(f"{path}: {EXTENDS} is {parent!r}", "Give the name of a carried benchmark, or another file")
    return {**_values(parent, (*extended, name))[0], **values}, path


def _build(cls: type, values: Any, where: str, path: Path) -> Any:
    """A dataclass from a mapping; `where` are the keys above it, with a dot at the end."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: {where.rstrip('.') or 'the file'} is no mapping", "Write `key: value` lines")
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
    """The value as its type; a mapping becomes the dataclass that the type names, if it names one."""
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
    """How a type is called in messages."""
    names = {str: "a text", int: "a whole number", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return {list: "a list", dict: "a mapping"}.get(get_origin(hint), "a mapping")
