"""Placeholders: `{model}` is the choice on an axis, `{model.path}` a detail of it, `{folder}` the study's folder."""

from __future__ import annotations

import itertools
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from grsap.errors import ConfigError
from grsap.yaml_text import load_yaml

FOLDER = "folder"
_NAME = re.compile(r"\{(\w+)(?:\.(\w+))?\}")

Binding = Mapping[str, str]
"""Axis -> its choice."""


@dataclass(frozen=True)
class Filler:
    """Replaces placeholders. Braces around other words are left unchanged, because prompt templates have them too.

    Attributes:
        folder: value of `{folder}`.
        axes: axis -> choices, in order.
        choices: axis -> choice -> its details by name; texts there may have placeholders too.
    """

    folder: str
    axes: Mapping[str, list[str]]
    choices: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError for an axis without choices, or a choice that `choices` lacks although it has the axis."""
        for axis, names in self.axes.items():
            known = self.choices.get(axis)
            if not names or axis == FOLDER:
                raise ConfigError(f"axes.{axis} is {names}", f"Give at least one choice; the name {FOLDER} is reserved")
            for name in names:
                if known is not None and name not in known:
                    raise ConfigError(f"axes.{axis}: there is no {name!r}", f"Choices are {', '.join(known)}")

    def axes_in(self, value: Any) -> set[str]:
        """Return the axes with placeholders in a value, including its nested texts."""
        if isinstance(value, str):
            return {axis for axis, _ in _NAME.findall(value)} & set(self.axes)
        value = _plain(value)
        children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        return set().union(*(self.axes_in(child) for child in children))

    def lacks_axis(self, name: str) -> bool:
        """Return whether a stage's name has an axis without choices."""
        return any(axis not in self.axes for axis, _ in _NAME.findall(name))

    def bindings(self, value: Any, bound: Binding) -> Iterator[Binding]:
        """Yield the bindings for a value: `bound`, extended by each combination of the value's other axes."""
        free = [axis for axis in self.axes if axis in self.axes_in(value) - set(bound)]
        for names in itertools.product(*(self.axes[axis] for axis in free)):
            yield {**bound, **dict(zip(free, names, strict=True))}

    def fill(self, value: Any, bound: Binding) -> Any:
        """Replace the placeholders of a value. A text that is only a placeholder keeps its type, such as a number.

        An item of a list with an unbound axis is repeated for each of its choices. Items that become empty are dropped.

        Raises:
            ConfigError: an axis is not bound, or a choice lacks the detail.
        """
        if isinstance(value, str):
            return self._text(value, bound)
        value = _plain(value)
        if isinstance(value, list):
            items = [self.fill(item, each) for item in value for each in self.bindings(item, bound)]
            return [item for item in items if item not in ("", None)]
        if isinstance(value, Mapping):
            return {key: self.fill(child, bound) for key, child in value.items()}
        return value

    def _text(self, text: str, bound: Binding) -> Any:
        whole = _NAME.fullmatch(text)
        if whole is not None and whole[1] != FOLDER:
            found = self._named(whole, bound)
            return _number(found) if whole[2] is None and found != text else found
        return _NAME.sub(lambda match: str(self._named(match, bound)), text)

    def _named(self, match: re.Match[str], bound: Binding) -> Any:
        axis, key = match.groups()
        if axis == FOLDER and key is None:
            return self.folder
        if axis not in self.axes:
            return match[0]
        if axis not in bound:
            raise ConfigError(f"{match[0]} is used where no {axis} is chosen", f"Put {{{axis}}} into the stage's name")
        if key is None:
            return bound[axis]
        details = self.choices.get(axis, {}).get(bound[axis], {})
        if key not in details:
            known = ", ".join(details) or "none"
            raise ConfigError(
                f"{match[0]}: {axis} {bound[axis]!r} has no {key}", f"Add it to choices.{axis}, which has {known}"
            )
        return self.fill(details[key], bound)


def _number(text: str) -> Any:
    """Return the number, boolean or null that the text is in YAML; else the text."""
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text


def _plain(value: Any) -> Any:
    """Return a namespace, which the command line makes of values with a `class_path`, as a mapping."""
    return vars(value) if isinstance(value, Namespace) else value
