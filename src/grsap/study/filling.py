"""Names in braces: `{model}` is a choice, `{model.path}` what belongs to it, `{folder}` the folder of the study."""

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
"""Axis -> the choice that is made."""


@dataclass(frozen=True)
class Filler:
    """Fills in names in braces. Braces around other words stay: a prompt's template has some of its own.

    Attributes:
        folder: value of `{folder}`.
        axes: axis -> choices, in order.
        choices: axis -> choice -> what else belongs to it; texts there may hold names too.
    """

    folder: str
    axes: Mapping[str, list[str]]
    choices: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError for an axis without a choice, or a choice that is not described where others are."""
        for axis, names in self.axes.items():
            known = self.choices.get(axis)
            if not names or axis == FOLDER:
                raise ConfigError(f"axes.{axis} is {names}", f"Give at least one choice; {FOLDER} is taken")
            for name in names:
                if known is not None and name not in known:
                    raise ConfigError(f"axes.{axis}: there is no {name!r}", f"Choices are {', '.join(known)}")

    def axes_in(self, value: Any) -> set[str]:
        """The axes that a value names, in nested texts too."""
        if isinstance(value, str):
            return {axis for axis, _ in _NAME.findall(value)} & set(self.axes)
        value = _plain(value)
        children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        return set().union(*(self.axes_in(child) for child in children))

    def lacks_axis(self, name: str) -> bool:
        """Whether a stage's name has an axis for which there are no choices."""
        return any(axis not in self.axes for axis, _ in _NAME.findall(name))

    def bindings(self, value: Any, bound: Binding) -> Iterator[Binding]:
        """The bindings that a value needs: `bound`, with all combinations of the axes that it does not bind."""
        free = [axis for axis in self.axes if axis in self.axes_in(value) - set(bound)]
        for names in itertools.product(*(self.axes[axis] for axis in free)):
            yield {**bound, **dict(zip(free, names, strict=True))}

    def fill(self, value: Any, bound: Binding) -> Any:
        """A value with its names filled in; a text that is a name and nothing else becomes a number where it is one.

        An item of a list that names an axis which is not bound is repeated for each of its choices. Items that come
        out empty are left out.

        Raises:
            ConfigError: an axis is not bound, or a choice has no such detail.
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
            raise ConfigError(f"{match[0]} stands where no {axis} is chosen", f"Put {{{axis}}} into the stage's name")
        if key is None:
            return bound[axis]
        details = self.choices.get(axis, {}).get(bound[axis], {})
        if key not in details:
            known = ", ".join(details) or "none"
            raise ConfigError(
                f"{match[0]}: {axis} {bound[axis]!r} has no {key}", f"Add it to choices.{axis}; there it has {known}"
            )
        return self.fill(details[key], bound)


def _number(text: str) -> Any:
    """The number, boolean or null that a choice is as YAML; else its text."""
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text


def _plain(value: Any) -> Any:
    """A mapping, where the command line made a namespace of what names a `class_path`."""
    return vars(value) if isinstance(value, Namespace) else value
