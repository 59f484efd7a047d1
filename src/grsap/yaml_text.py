"""Read and write YAML of settings and specs: safe types only, YAML 1.2 scalars, limited size and nesting.

All YAML that grsap reads goes through `load_yaml` or `read_yaml`. Scalars follow YAML 1.2: only `true` and `false` are
booleans, not `off`, `no` and `yes`; dates, sexagesimal (`1:30`) and octal (`010`) numbers are strings.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import yaml

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
"""Limit for nested lists and mappings. Deeper ones would overflow the stack of libyaml's C code."""
MAX_NODES = 1_000_000
"""Limit for the number of scalars, lists and mappings, counted with all aliases expanded."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+")
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_RESOLVERS = (  # the first that matches decides
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", re.compile("<<"), "<"),
)


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(_Base):
    """The safe loader with the scalars of YAML 1.2; keys must be scalars and unique."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str, Any]] = {
        tag: make
        for tag, make in _Base.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _Refused("expected a mapping", node.start_mark)
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float)):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word or number", key_node.start_mark
                )
            if key in seen:
                raise _Refused(f"the key {key} is given twice", key_node.start_mark)
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which also quotes strings that `_Loader` reads as numbers, such as `1e5`."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _RESOLVERS:
    _anchored = re.compile(rf"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _anchored, list(_first))
    if _name in ("int", "float"):
        _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _anchored, list(_first))


def _represent_as(kind: type[Any]) -> Any:
    """Return a representer that writes a subclass of a plain type as that type, and an enum member as its value."""

    def represent(dumper: Any, value: Any) -> Any:
        return dumper.represent_data(kind(value.value if isinstance(value, Enum) else value))

    return represent


for _kind in (str, int, float):  # defaults of Lightning's callbacks include enum members
    _Dumper.add_multi_representer(_kind, _represent_as(_kind))


def load_yaml(text: str) -> Any:
    """Parse one YAML document; returns None if it is empty.

    Raises:
        yaml.YAMLError: it is not YAML, a key occurs twice, or it exceeds the limits of size or nesting.
    """
    try:
        _check_size(text)
        return yaml.load(text, Loader=_Loader)
    except (ValueError, OverflowError, KeyError) as error:  # such as the tag !!bool on another word, or a huge number
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def read_yaml(path: Path) -> Any:
    """Read the value of a YAML file.

    Raises:
        OSError, UnicodeDecodeError: the file cannot be read.
        yaml.YAMLError: see `load_yaml`.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise yaml.YAMLError(f"the file has more than {MAX_BYTES // 2**20} MiB")
    return load_yaml(data.decode("utf-8"))


def dump_yaml(value: Any) -> str:
    """Return YAML that `load_yaml` reads as the same value; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


def _check_size(text: str) -> None:
    """Raise YAMLError for a text that is too large or nested too deeply, also after expanding aliases.

    Reads the stream of events, which needs no recursion: the loader's C code has no limits.
    """
    if len(text) > MAX_BYTES:
        raise yaml.YAMLError(f"the text has more than {MAX_BYTES // 2**20} MiB")
    counts = [0]  # nodes of each open list or mapping, outermost first
    anchors: list[str | None] = []
    sizes: dict[str, int] = {}  # nodes below each anchor that is closed

    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.CollectionStartEvent):
            counts.append(1)
            anchors.append(event.anchor)
            if len(counts) - 1 > MAX_DEPTH:
                raise _Refused(f"nested more than {MAX_DEPTH} deep", event.start_mark)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size, anchor = counts.pop(), anchors.pop()
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise _Refused(f"*{event.anchor} contains itself", event.start_mark)
            size, anchor = sizes.get(str(event.anchor), 1), None
        else:
            continue
        counts[-1] += size
        if anchor is not None:
            sizes[anchor] = size
        if counts[-1] > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES:,} values", event.start_mark)
