"""The settings parser's nested list of attempts as one paragraph for a person. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from grsap.errors import ConfigError, user_error_within

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

_PLAIN = (
    (r"<class '([\w.]+)'>", r"\1"),
    (r"typing\.", ""),
    (r'Parser key "([\w.]+)":', r"\1:"),
    (r"Problem with given class_path '([\w.]+)':", r"\1:"),
    (r"Option '(\w+)' is not accepted", r"\1 is no argument of it"),
    (r"Expected an? ([\w.\[\]', |]+)\. Got value: None", r"not set, and it must be (\1)"),
    (
        r"Expected a dot import path string: (\w+)",
        r"\1 is no class that grsap knows; write its whole path, module.Class",
    ),
    (r"No module named '([\w.]+)'", r"there is no module \1 (modules are looked for in the working directory too)"),
    (
        r"Importing '(([\w]+)[\w.]*)' is not allowed, denied by.*",
        r"settings may not name \1: add --trust-module \2 if you trust it",
    ),
)


def parsing_paragraph(message: str) -> str:
    """What the parser found wrong, and where the options are listed."""
    return f"{_sentences(message)} All options: grsap VERB --help; the settings as read: --print_config."


@contextmanager
def refusals_told() -> Iterator[None]:
    """Inside, settings become objects; a class that refuses what it was given is the user's error.

    Raises:
        ConfigError: with what the class says, such as PEFT's of two settings that exclude each other.
    """
    try:
        yield
    except ValueError as error:
        if user_error_within(error) is not None:
            raise
        raise ConfigError(
            f"A class refuses its settings: {_sentences(str(error))}", "Change them, or see where with --debug"
        ) from error


def _sentences(message: str) -> str:
    """The message as sentences; attempts that say nothing are left out."""
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
