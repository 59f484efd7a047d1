"""List the differences of two configurations by key. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_MISSING = object()


def setting_differences(old: Any, new: Any, left_out: Collection[str] = ()) -> list[str]:
    """Return lines `key: old -> new`, in the order of the keys.

    Args:
        old: a configuration as read from YAML.
        new: another configuration.
        left_out: dotted keys that are not compared, nor the keys below them; `*.init_args.device` matches at any depth.
    """
    before, after = dict(_leaves("", old)), dict(_leaves("", new))
    keys = [key for key in dict.fromkeys([*before, *after]) if not _is_left_out(key, left_out)]
    return [
        f"{key}: {_show(before, key)} -> {_show(after, key)}"
        for key in keys
        if before.get(key, _MISSING) != after.get(key, _MISSING)
    ]


def _is_left_out(key: str, left_out: Collection[str]) -> bool:
    return any(re.match(_pattern(name), key, re.DOTALL) for name in left_out)


def _pattern(name: str) -> str:
    """Return a regex for a key and all keys below it; a leading `*.` matches any number of parent keys."""
    tail = name.removeprefix("*.")
    return rf"{'' if tail == name else '(.*[.])?'}{re.escape(tail)}([.\[]|\Z)"


def _show(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], ensure_ascii=False, default=str) if key in config else "absent"


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    children: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        children = [(f"{prefix}.{key}" if prefix else str(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{prefix}[{index}]", child) for index, child in enumerate(value)]
    if not children:
        yield prefix, value
    for key, child in children:
        yield from _leaves(key, child)
