"""Command-line flags that are not settings: no config can contain them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from grsap.embedded import PREFIX, resolve
from grsap.errors import ConfigError

FLAGS_HELP = """\
flags of this call, not settings:
  --resume              resume the run in run_dir from its newest valid checkpoint, or extend a finished run
  --dry-run             show rows, tokens, steps, memory and the first step's mask; load no weights
  --trust-module NAME   let settings name classes of this installed module (may be repeated)
  --debug               show tracebacks
"""
USE_FLAGS_HELP = """\
flags of this call, not settings:
  --base                use the unchanged base model instead of the weights of the run in run_dir
  --trust-module NAME   let settings name classes of this installed module (may be repeated)
  --debug               show tracebacks
"""
USES = ("validate", "test", "predict")
"""Verbs that use the weights of a run."""
DRY_RUNS = ("fit", "study")
"""Verbs that have `--dry-run`."""

STAGE_FLAGS_HELP = """\
flags of this call, not settings:
  --dry-run             of grsap study: show stages, tokens, hours and memory; run nothing
  --trust-module NAME   let settings name classes of this installed module (may be repeated)
  --debug               show tracebacks
"""


@dataclass(frozen=True)
class Invocation:
    """One call of a verb that reads settings.

    Attributes:
        verb: such as `fit`.
        args: the words for the settings' parser.
        resume, dry_run, debug: see FLAGS_HELP.
        base: see USE_FLAGS_HELP.
        trusted: modules from `--trust-module`.
    """

    verb: str
    args: tuple[str, ...]
    resume: bool = False
    dry_run: bool = False
    debug: bool = False
    base: bool = False
    trusted: tuple[str, ...] = ()


class FlagParser(argparse.ArgumentParser):
    """A parser that raises `ConfigError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise the error that argparse found."""
        raise ConfigError(f"{self.prog}: {message}", f"See {self.prog} --help")


def read_invocation(verb: str, args: Sequence[str]) -> Invocation:
    """Separate the flags of a command line from the words for the settings' parser.

    Flags may be spelled with dashes or underscores. `embedded:configs/...` is replaced by the path of the file.

    Raises:
        ConfigError: a flag lacks its value, or does not belong to this verb.
    """
    parser = FlagParser(prog=f"grsap {verb}", add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", dest="dry_run")
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--trust-module", "--trust_module", action="append", default=[], dest="trusted", metavar="NAME")
    flags, rest = parser.parse_known_args(list(args))
    for flag, is_given, verbs in (
        ("--resume", flags.resume, ("fit",)),
        ("--base", flags.base, USES),
        ("--dry-run", flags.dry_run, DRY_RUNS),
    ):
        if is_given and verb not in verbs:
            raise ConfigError(f"{flag} is a flag of grsap {' and '.join(verbs)}, not of grsap {verb}", "Leave it out")
    return Invocation(
        verb=verb,
        args=tuple(_settings_word(word) for word in rest),
        resume=flags.resume,
        dry_run=flags.dry_run,
        debug=flags.debug,
        base=flags.base,
        trusted=tuple(flags.trusted),
    )


def _settings_word(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    option = {"--run-dir": "--run_dir", "--output-dir": "--output_dir"}.get(option, option)
    if value.startswith(f"{PREFIX}configs/"):
        value = str(resolve(value))
    return option + equals + value
