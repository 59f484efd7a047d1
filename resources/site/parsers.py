"""The parsers of all verbs, without running one: what settings there are."""

from __future__ import annotations

import functools
from typing import Any

from jsonargparse import ArgumentParser

from grsap.commands.settings import RunSettings
from grsap.commands.stage import stage_parser
from grsap.commands.stages import STAGES, load
from grsap.commands.trust import restrict_imports


class _Parser(Exception):
    """Carries the parser of a run's settings out of the constructor that makes it."""


class _ParserOnly(RunSettings):
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise _Parser(parser)


@functools.cache
def parser_of(verb: str) -> ArgumentParser:
    """The parser of a verb's settings."""
    restrict_imports()
    if verb in STAGES:
        return stage_parser(verb, load(verb).settings)
    try:
        _ParserOnly(verb, [])
    except _Parser as found:
        parser: ArgumentParser = found.args[0]
        return parser
    raise AssertionError("RunSettings no longer parses in parse_arguments")
