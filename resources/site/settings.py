"""Reference pages of all settings: key, type, default and meaning, from signatures and docstrings."""

from __future__ import annotations

import argparse
import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Union

import yaml
from jsonargparse import ArgumentParser, Namespace
from resources.site.parsers import STAGES, parser_of

from grsap.cli import VERBS
from grsap.training.callback_checks import ARGUMENTS

FOLDER = "reference"
CLASSES = "classes.md"
PARSED = ("fit", *STAGES)
"""Verbs with settings of their own: validate, test and predict take those of fit."""

LISTED = ("grsap.", "peft.tuners.lora.config.LoraConfig", "lightning.pytorch.callbacks.callback.Callback")
"""Packages and classes that get a section."""

PLAIN = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "any"}


class Setting(NamedTuple):
    """Dotted key, type, default and meaning of a setting, in Markdown."""

    key: str
    kind: str
    default: str
    text: str


def trainer_notes() -> dict[str, str]:
    """What grsap makes of the Trainer's arguments, which Lightning describes."""
    notes = {f"trainer.{name}": f"grsap rejects a value that {effect}." for name, (_, effect, _) in ARGUMENTS.items()}
    return {**notes, "trainer.max_epochs": "grsap: 1 if max_steps is not given either."}


def without_rst(text: str) -> str:
    """Lightning's text in Markdown, without its defaults: grsap has its own."""
    text = re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    text = re.sub(r" If both max_epochs and max_steps are not specified[^.]*\.| If `max_steps = -1`[^.]*\.", "", text)
    return re.sub(r" Default: `[^`]*`\.?", "", text)


class UndocumentedError(Exception):
    """A setting of grsap has no line in its class's docstring."""


def write_pages(folder: Path) -> None:
    """Write one page per verb and one of all classes that settings can name.

    Raises:
        UndocumentedError: names each setting without a description.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Text of each page, by file name."""
    tables = {verb: list(settings_of(parser_of(verb), trainer_notes())) for verb in PARSED}
    found: dict[type, None] = {}
    for verb in PARSED:
        for action in actions_of(parser_of(verb)):
            collect(action._typehint, found)
    classes = {kind: settings_of_class(kind) for kind in found if not inspect.isabstract(kind)}
    missing = [f"{verb}: {row.key}" for verb, rows in tables.items() for row in rows if not row.text]
    missing += [
        f"{kind.__name__}: {row.key}"
        for kind, rows in classes.items()
        for row in rows
        if not row.text and kind.__module__.startswith("grsap.")
    ]
    if missing:
        raise UndocumentedError("settings without a line in a docstring: " + ", ".join(missing))
    texts = {f"{verb}.md": verb_page(verb, rows) for verb, rows in tables.items()}
    return {**texts, CLASSES: classes_page(found, classes)}


def actions_of(parser: ArgumentParser) -> Iterator[argparse.Action]:
    """The actions of settings that can be given; links and `--config` are left out."""
    for action in parser._actions:
        if type(action).__name__ == "ActionTypeHint":
            yield action


def settings_of(parser: ArgumentParser, notes: Mapping[str, str] = MappingProxyType({})) -> Iterator[Setting]:
    """Each setting of a parser.

    Args:
        parser: of a verb or a class.
        notes: more text, by key.
    """
    for action in actions_of(parser):
        text = "" if action.help in (None, argparse.SUPPRESS) else without_rst(str(action.help))
        text = " ".join(filter(None, (text, notes.get(action.dest, ""))))
        default = "required" if action.required else shown_default(action.default)
        yield Setting(action.dest, shown_type(action._typehint), default, text)  # type: ignore[attr-defined]


def settings_of_class(kind: type) -> list[Setting]:
    """As `settings_of`, for a class's arguments. PEFT describes some of its own in the fields' metadata."""
    fields = {each.name: each.metadata.get("help") or "" for each in getattr(kind, "__dataclass_fields__", {}).values()}
    rows = settings_of(parser_of_class(kind))
    return [row._replace(text=row.text or " ".join(fields.get(row.key, "").split())) for row in rows]


def parser_of_class(kind: type) -> ArgumentParser:
    """The parser of a class's arguments."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, fail_untyped=False, sub_configs=False)
    return parser


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(each for member in typing.get_args(hint) for each in members(member))
    return (hint,)


def collect(hint: Any, found: dict[type, None]) -> None:
    """Add the classes that a setting of a type can name, and those that their arguments can name."""
    for argument in typing.get_args(hint):
        collect(argument, found)
    if not is_listed(hint):
        return
    for kind in (hint, *subclasses_of(hint)):
        if kind in found:
            continue
        found[kind] = None
        if not inspect.isabstract(kind) and kind.__module__.startswith("grsap."):
            for action in actions_of(parser_of_class(kind)):
                collect(action._typehint, found)


def subclasses_of(kind: type) -> list[type]:
    """Public subclasses in grsap, sorted by name."""
    found = {each for child in kind.__subclasses__() for each in (child, *subclasses_of(child))}
    public = [each for each in found if each.__module__.startswith("grsap.") and not each.__name__.startswith("_")]
    return sorted(public, key=lambda each: each.__name__)


def shown_type(hint: Any) -> str:
    """A type in words; a class is a link to its section."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if len(members(hint)) > 1:
        return " or ".join(dict.fromkeys(shown_type(each) for each in members(hint)))
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in (list, tuple, set, collections.abc.Iterable, collections.abc.Sequence):
        return f"list of {in_brackets(arguments[0])}" if arguments else "list"
    if origin in (dict, collections.abc.Mapping):
        return f"map from {in_brackets(arguments[0])} to {in_brackets(arguments[1])}"
    if origin is collections.abc.Callable:
        return f"class: {shown_type(arguments[-1])}"
    name = getattr(hint, "__name__", str(hint))
    return f"[{name}]({CLASSES}#{name.lower()})" if is_listed(hint) else f"`{name}`"


def is_listed(hint: Any) -> bool:
    """Whether a type is a class with a section of its own."""
    return inspect.isclass(hint) and f"{hint.__module__}.{hint.__qualname__}".startswith(LISTED)


def in_brackets(hint: Any) -> str:
    """A type in words, in brackets where it has several members."""
    text = shown_type(hint)
    return f"({text})" if len(members(hint)) > 1 or typing.get_origin(hint) is Literal else text


def shown_default(value: Any) -> str:
    """A default as YAML on one line."""
    value = value.as_dict() if isinstance(value, Namespace) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def tables_of(rows: list[Setting], heading: str) -> Iterator[str]:
    """One table per group of keys that share all but their last word, under a heading where that is not empty."""
    groups: dict[str, list[Setting]] = {}
    for row in rows:
        groups.setdefault(row.key.rpartition(".")[0], []).append(row)
    for group, members_ in sorted(groups.items(), key=lambda each: each[0] == "trainer"):
        lines = ["| key | meaning |", "|---|---|"]
        for row in members_:
            default = row.default if row.default == "required" else f"default {row.default}"
            cells = (f"`{row.key.rpartition('.')[2]}`<br>{row.kind}<br>{default}", row.text)
            lines.append("| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |")
        yield "\n\n".join([*([f"{heading} {group}"] if group else []), "\n".join(lines)])


def verb_page(verb: str, rows: list[Setting]) -> str:
    """The page of a verb."""
    title = f"# Settings of grsap {verb}"
    return "\n\n".join([title, f"{VERBS[verb].help.capitalize()}.", INTRODUCTION, *tables_of(rows, "##")]) + "\n"


INTRODUCTION = (
    "Each key is a line of YAML and an option: `max_length` below `data.encoding` is `--data.encoding.max_length`. "
    "A type that is a link is a class: its own keys are on the page of [classes](classes.md). "
    "`grsap VERB --print_config` prints all settings with their values."
)


def classes_page(found: dict[type, None], classes: dict[type, list[Setting]]) -> str:
    """The page of all classes that settings can name: base classes with their choices, then the arguments of each."""
    parts = [
        "# Classes in settings",
        "A setting that takes a class is written `{class_path: NAME, init_args: {...}}`; the tables list the keys of "
        "`init_args`. A class without choices is written as a plain map of its keys.",
    ]
    for kind in sorted(found, key=lambda each: each.__name__):
        summary = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
        parts += [f"## {kind.__name__}", summary]
        choices = [each for each in subclasses_of(kind) if not inspect.isabstract(each)]
        if choices:
            links = ", ".join(f"[{each.__name__}](#{each.__name__.lower()})" for each in choices)
            parts.append(f"Choices: {links}.")
        parts += tables_of(classes.get(kind, []), "###")
    return "\n\n".join(parts) + "\n"
