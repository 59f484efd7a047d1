"""The command line: a static table of verbs, whose modules are imported when they are called.

`grsap --help` and `--version` import the standard library only, and answer at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import grsap
from grsap.commands.boundary import run_guarded
from grsap.errors import ConfigError


@dataclass(frozen=True)
class Verb:
    """A command: `module` has `run(verb, args) -> exit code`, and is imported when the verb is called."""

    help: str
    module: str


VERBS: dict[str, Verb] = {
    "fit": Verb("teach a model your task while a replay set keeps its refusals", "grsap.commands.fit"),
    "validate": Verb("the loss of a model or of a finished run on the validation rows", "grsap.commands.fit"),
    "test": Verb("the same on the test rows", "grsap.commands.fit"),
    "predict": Verb("answers of a model or of a finished run to the test rows", "grsap.commands.fit"),
    "synthesize": Verb("have an aligned model write safety queries and answer them", "grsap.commands.stages"),
    "import": Verb("make a replay set of safety data that others published", "grsap.commands.stages"),
    "curate": Verb(
        "make a replay set of raw rows, and say why each of the others is not in it", "grsap.commands.stages"
    ),
    "evaluate": Verb(
        "measure harm, over-refusal and task scores of models, adapters and runs", "grsap.commands.stages"
    ),
    "similarity": Verb("how close a replay set comes to the data that a model was aligned on", "grsap.commands.stages"),
    "study": Verb("several stages as one piece of work, such as a table of the paper", "grsap.commands.stages"),
    "report": Verb("one page from the folders that the others leave", "grsap.commands.report"),
    "doctor": Verb(
        "say what this machine and installation can do, and what is wrong with them", "grsap.commands.doctor"
    ),
}

EPILOG = """\
`grsap VERB --help` lists a verb's options. Start with:
  grsap doctor
  grsap fit --config embedded:configs/recipes/quickstart.yaml
  grsap fit --config my.yaml --dry-run

Exit codes: 0 done, 1 our fault, 2 something you gave, 143 stopped by SIGTERM after saving.
SIGUSR1 and SIGHUP save and stop too, with 138 and 129.
"""


def usage() -> str:
    """The text of `grsap --help`."""
    lines = [f"  {name:<11} {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: grsap VERB [options]",
            "",
            "Fine-tune an aligned language model on a task and keep its refusals.",
            "",
            *lines,
            "",
            "  --help      this text",
            "  --version   the version",
            "",
            EPILOG,
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: the words after `grsap`; by default those of this process.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"grsap {grsap.__version__}")
        return 0
    return run_guarded(lambda: dispatch(args[0], args[1:]), debug="--debug" in args)


def dispatch(name: str, args: Sequence[str]) -> int:
    """Import the module of a verb and run it.

    Raises:
        ConfigError: there is no such verb.
    """
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, 1)
        guess = f"Did you mean {close[0]}" if close else f"Verbs are {', '.join(VERBS)}"
        raise ConfigError(f"{name!r} is not a verb of grsap", f"{guess}; see grsap --help")
    code: int = importlib.import_module(VERBS[name].module).run(name, list(args))
    return code
