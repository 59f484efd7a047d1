"""Condense the settings parser's nested errors to one paragraph. Standard library only."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grsap.commands.blame import is_users_file, shown_path, users_error
from grsap.disk import disk_error
from grsap.errors import ConfigError, GrsapError, user_error_within
from grsap.plugins import source_place

MAX_LENGTH = 600

_NOISE = (
    r"Expected a path but .* either not accessible or invalid",
    r"Does not validate against any of the Union subtypes",
    r"Subtypes: .*",
    r"Errors:",
    r"Expected a <class 'NoneType'>(\. Got value: .*)?",
    r"Given value type: .*",
    r"Given value: .*",
    r"Not a valid subclass of \w+",
    r"Subclass types expect one of:",
    r"a class path \(str\)",
    r"a dict with(out)? (class_path|parameters).*",
)


def _missing_methods(match: re.Match[str]) -> str:
    """Name the methods that an abstract class still needs, and its place."""
    path = match[1]
    module, _, name = path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    missing = " and ".join(sorted(getattr(cls, "__abstractmethods__", ()))) or "of its abstract base class"
    place = source_place(cls)
    return f"{path}{f' ({place})' if place else ''} lacks the method {missing}; write it"


def _missing_name(match: re.Match[str]) -> str:
    """Name the file that lacks a class, and the nearest name in it."""
    module, name = match.groups()
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None) or ""
    place = shown_path(file) if file and is_users_file(file) else module
    if name == "py":
        return f"{place} has no name py; write module.Class, without .py"
    near = difflib.get_close_matches(name, [each for each in dir(found) if not each.startswith("_")], 1)
    return f"{place} has no name {name}{f'; the nearest is {near[0]}' if near else ''}"


def _not_importable(match: re.Match[str]) -> str:
    """Say why a module cannot be imported: missing, hidden by an installed module, or not trusted."""
    path, module = match.groups()
    if Path(f"{module}.py").is_file():
        return f"{module}.py has the name of an installed module, which hides it; rename your file"
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        near = difflib.get_close_matches(module, [each.stem for each in Path().glob("*.py")], 1)
        hint = f"; the nearest is {near[0]}.py" if near else ""
        return f"there is no {module}.py in the working directory, and no installed package {module}{hint}"
    return f"settings may not name {path}: add --trust-module {module} if you trust it"


_PLAIN = (
    (r"<class '([\w.]+)'>", r"\1"),
    (r"typing\.", ""),
    (r'Parser key "([\w.]+)":', r"\1:"),
    (r"Problem with given class_path '([\w.]+)':", r"\1:"),
    (r"Option '(\w+)' is not accepted", r"\1 is not one of its arguments"),
    (r"Expected an instantiatable class, but ([\w.]+) is abstract", _missing_methods),
    (
        r"Import path ([\w.]+) does not correspond to a subclass of ([\w.]+)",
        r"\1 is not derived from \2; derive it from that class",
    ),
    (r"Expected an? ([\w.\[\]', |]+)\. Got value: None", r"not set, and it must be (\1)"),
    (r"Expected an? int\b", "must be a whole number"),
    (r"Expected an? float\b", "must be a number"),
    (r"Expected an? str\b", "must be a string"),
    (r"Expected an? bool\b", "must be true or false"),
    (r"Expected a list\b", "must be a list"),
    (r"Got value: (.+)", r"It is \1"),
    (
        r"Expected a dot import path string: (.+)",
        r"\1 is not a known class; give its full import path, module.Class",
    ),
    (r"No module named '([\w.]+)'", r"no module named \1 (the working directory is searched too)"),
    (r"module '([\w.]+)' has no attribute '(\w+)'", _missing_name),
    (r"Importing '(([\w]+)[\w.]*)' is not allowed, denied by.*", _not_importable),
)


def parsing_paragraph(message: str) -> str:
    """Return the parser's error as sentences, and where the options are listed."""
    return f"{_sentences(message)} All options: grsap VERB --help; the parsed settings: --print_config."


@contextmanager
def settings_read() -> Iterator[None]:
    """Parse settings inside the block; exceptions become the user's errors.

    Raises:
        ConfigError: quotes the exception of the parser or of a module that settings name.
    """
    with _as_config_error("The settings cannot be read", "Correct them; --debug shows where"):
        yield


@contextmanager
def settings_become_objects() -> Iterator[None]:
    """Build objects of settings inside the block; exceptions become the user's errors.

    Raises:
        ConfigError: quotes the exception, such as Lightning's about missing devices.
    """
    with _as_config_error("The settings are invalid", "Change them; --debug shows where"):
        yield


@contextmanager
def _as_config_error(problem: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (GrsapError, MemoryError):
        raise
    except ArgumentError as error:
        known = users_error(error)
        if known is None:
            raise
        raise known from error
    except Exception as error:
        known = user_error_within(error) or users_error(error) or disk_error(error, action="read or written")
        raise (known or ConfigError(f"{problem}: {_text_of(error)}", remedy)) from error


def class_refusal(name: str, error: Exception) -> ConfigError:
    """Return the error for an installed class that rejects its settings."""
    return ConfigError(f"{name} rejects its settings: {_text_of(error)}", "Change them; --debug shows where")


def _text_of(error: Exception) -> str:
    """Return the text of an exception, with its class unless it is a ValueError."""
    text = _sentences(str(error))
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text or 'no message'}"


def _sentences(message: str) -> str:
    """Return the message as sentences, without lines about types that the parser tried."""
    parts = []
    for line in message.strip().splitlines():
        text = re.sub(r"^[-*\s]+", "", line).strip()
        if not text or any(re.fullmatch(noise, text) for noise in _NOISE):
            continue
        for pattern, plain in _PLAIN:
            text = re.sub(pattern, plain, text)
        if text not in parts:
            parts.append(text)
    paragraph = " ".join(part if part.endswith(":") else f"{part.rstrip('.')}." for part in parts)
    if len(paragraph) > MAX_LENGTH:
        paragraph = f"{paragraph[:MAX_LENGTH].rsplit(' ', 1)[0]} ..."
    return paragraph
