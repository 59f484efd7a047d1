"""The command line: a static table of verbs, whose modules are imported when they are called.

`grsap --help` and `--version` import the standard library only, so that they are fast.
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
    "fit": Verb("fine-tune a model on your task while a replay set preserves its refusals", "grsap.commands.fit"),
    "validate": Verb("compute the loss of a model or of a run on the validation rows", "grsap.commands.fit"),
    "test": Verb("compute the loss of a model or of a run on the test rows", "grsap.commands.fit"),
    "predict": Verb("generate answers of a model or of a run to the test rows", "grsap.commands.fit"),
    "synthesize": Verb("generate safety queries and their answers with an aligned model", "grsap.commands.stages"),
    "import": Verb("make a replay set from published safety data", "grsap.commands.stages"),
    "curate": Verb("filter raw rows into a replay set, with a reason for each rejected row", "grsap.commands.stages"),
    "evaluate": Verb("measure harm, over-refusal and task scores of models and runs", "grsap.commands.stages"),
    "similarity": Verb("compare a replay set with the data that a model was aligned on", "grsap.commands.stages"),
    "study": Verb("run several dependent stages, such as a table of the paper", "grsap.commands.stages"),
    "report": Verb("write one HTML page about the output folders of other verbs", "grsap.commands.report"),
    "doctor": Verb("check this machine and the installed packages", "grsap.commands.doctor"),
}

EPILOG = """\
`grsap VERB --help` lists a verb's options. Start with:
  grsap doctor
  grsap fit --config embedded:configs/recipes/quickstart.yaml
  grsap fit --config my.yaml --dry-run

Exit codes: 0 success, 1 failure, 2 wrong settings or input, 143 stopped by SIGTERM after saving.
SIGUSR1 and SIGHUP also save and stop, with exit codes 138 and 129.
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
