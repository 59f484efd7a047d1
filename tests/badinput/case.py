"""One bad input, and what a good error is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

DELETE = object()
"""As a changed setting: the key is left out of the config."""

Content = str | bytes | Sequence[Any] | Callable[[Path], None] | None
"""Of a file: text, bytes, rows of JSONL, what makes it at the path that it is given, or None for no file."""

OPENINGS = """
Accept, Add, All options, All settings, Break, Bring, Change, Check, Choices are, Choose, Close, Configs are,
Convert, Copy, Correct, Create, Delete, Did you mean, Domains are, Download, Drop, Embedded models are, End, Escape,
Export, Fetch, Fill, Finish, Free, Give, Import, Increase, Install, Its columns, Its keys, Keep, Keys, Label,
Leave, Let, Load, Log, Lower, Make, Map, Mend, Merge, Move, Name, Open, Paths are, Point, Put, Quote, Raise,
Read, Reduce, Reinstall, Remove, Rename, Replace, Restore, Run, Save, See, Set, Shorten, Split, Stages are,
Start, Stop, Subjects are, Take, There are, Train, Turn, Unpack, Update, Use, User and, Verbs are, Wait, Write
"""
REMEDY = re.compile(rf"(?<=[.:;,] )({'|'.join(' '.join(OPENINGS.split()).split(', '))})\b")
"""How the sentence begins that says what to do."""


@dataclass(frozen=True)
class Case:
    """A bad input, as a change of a good one of the same verb.

    Attributes:
        id: unique; begins with the verb, then the setting or file, then what is wrong with it.
        verb: of grsap; its good input is `worlds.WORLDS[verb]`.
        names: texts that the message must hold: the key, file or row, and what is wrong.
        change: dotted setting -> value; a part that is a number is a place in a list. DELETE leaves the key out.
        files: path below the working directory -> what is there instead.
        config: the whole config file, instead of the settings.
        words: at the end of the command line.
        plain: without the words that a good input of the verb has.
        argv: the words after the verb, instead of `--config`.
        remedy: a text of the remedy; by default a sentence that says what to do must be there.
        slow: tried in the slow tier only: one of many of a kind.
    """

    id: str
    verb: str
    names: tuple[str, ...]
    change: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Content] = field(default_factory=dict)
    config: str | bytes | None = None
    words: tuple[str, ...] = ()
    argv: tuple[str, ...] | None = None
    remedy: str = ""
    slow: bool = False
    plain: bool = False


def faults_of(case: Case, code: int, stderr: str, stdout: str) -> list[str]:
    """What is wrong with the answer to a bad input; empty if it is a good error."""
    told = " ".join(stderr.split())
    _, found, message = f" {told}".rpartition(" error: ")
    faults = [] if code == 2 else [f"exit code {code}"]
    if not found:
        faults.append("no error is told")
    faults += [f"{word!r} is told" for word in ("internal error", "Traceback") if word in told]
    faults += [f"{name!r} is not named" for name in case.names if name not in message]
    if not (case.remedy in message if case.remedy else REMEDY.search(message)):
        faults.append(f"no remedy {case.remedy!r}")
    controls = {char for char in stderr + stdout if unicodedata.category(char) in ("Cc", "Cs")} - {"\n"}
    if controls:
        faults.append(f"control characters {controls!r}")
    return faults


def each(num: int, cases: Iterable[Case]) -> list[Case]:
    """All cases; the ordinary suite tries every `num`-th, for those that are much alike."""
    return [replace(case, slow=case.slow or number % num > 0) for number, case in enumerate(cases)]
