"""Run a stage: a verb whose options are the arguments of a settings class, and whose results are in one folder."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from jsonargparse import ArgumentParser, Namespace

from grsap.commands.invocation import STAGE_FLAGS_HELP, read_invocation
from grsap.commands.parsing import parse
from grsap.commands.parsing_errors import settings_become_objects
from grsap.commands.places import building
from grsap.commands.quiet import quieten
from grsap.commands.stage_folder import StageFolder
from grsap.commands.trust import restrict_imports
from grsap.errors import Interrupted, UserError
from grsap.files import folder_lock, remove_leftovers

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]
"""Signals that stop a stage; Windows has only the first."""


class Settings(Protocol):
    """The settings of a verb. The constructor's typed arguments are the options, their docs the help texts."""

    def check(self) -> None:
        """Check the settings and the files they name, without writing files or loading weights.

        Raises:
            UserError: names key, file or row.
        """
        ...


@dataclass(frozen=True)
class Stage:
    """A verb.

    Attributes:
        settings: class of its settings.
        run: does the work in a folder that this process has locked. It continues unfinished work, and only prints the
            result of a finished folder. It must not rely on a clean exit: the process may be killed at any time.
        show_plan: for `--dry-run`: prints what `run` would do, and writes nothing.
    """

    settings: Callable[..., Settings]
    run: Callable[[Any, Path], None]
    show_plan: Callable[[Any, Path], None] | None = None


def run_stage(
    verb: str,
    args: Sequence[str],
    load: Callable[[], Stage],
    defaults: Mapping[str, Any] | None = None,
    may_change: Collection[str] = (),
) -> int:
    """Parse a command line, build the settings and run the stage in its folder.

    Args:
        verb: named in usage texts and in the folder's config.
        args: the words after the verb.
        load: imports and returns the stage; called after the log levels of libraries are set.
        defaults: of settings that are objects, as class specifications, because defaults must be YAML-serializable.
        may_change: dotted settings that may differ when a call continues a folder, such as a batch size.

    Returns:
        The exit code.

    Raises:
        UserError: settings, files or folder are wrong; raised before expensive work.
        Interrupted: the process received SIGTERM, SIGUSR1 or SIGHUP.
    """
    invocation = read_invocation(verb, args)
    if not invocation.debug:
        quieten()
    restrict_imports(invocation.trusted)
    stage = load()
    parser = stage_parser(verb, stage.settings)
    parser.set_defaults(dict(defaults or {}))
    parsed = parse(parser, invocation.args, {})
    config = str(parser.dump(parsed, skip_none=False))
    folder = StageFolder(parsed.output_dir, verb)
    settings = build(parser, parsed, stage.settings)
    settings.check()
    if invocation.dry_run and stage.show_plan is not None:
        stage.show_plan(settings, folder.path)
        return 0
    folder.check(config, may_change)
    with folder_lock(folder.path, "output_dir"), signals_raise():
        if folder.check(config, may_change):  # again, because another call may have written before it released the lock
            print(f"Continuing the work in {folder.path}.", file=sys.stderr)
        remove_leftovers(folder.path)
        folder.begin(config)
        try:
            stage.run(settings, folder.path)
        except UserError:
            folder.take_back()
            raise
    return 0


def stage_parser(verb: str, kind: Callable[..., Settings]) -> ArgumentParser:
    """Return a parser of `--config`, `--print_config`, `--output_dir` and the arguments of `kind`."""
    description = f"{(kind.__doc__ or '').strip().splitlines()[0]}\n\n{STAGE_FLAGS_HELP}"
    parser = ArgumentParser(prog=f"grsap {verb}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings; may be repeated, later files win.")
    parser.add_argument(
        "--output_dir",
        type=str,
        required=True,
        help="Folder of the results. The same call again continues its work.",
    )
    parser.add_class_arguments(kind)
    return parser


def build(parser: ArgumentParser, parsed: Namespace, kind: Callable[..., Settings]) -> Settings:
    """Build the settings and all objects that they name by `class_path`.

    Raises:
        ConfigError: a class rejects its settings.
    """
    with settings_become_objects(), building(parsed) as settle:
        built = parser.instantiate_classes(parsed)
        settle(built)
    values = vars(built)
    return kind(**{name: value for name, value in values.items() if name not in ("config", "output_dir")})


@contextmanager
def signals_raise() -> Iterator[None]:
    """Raise `Interrupted` at once when a stop signal arrives inside the block.

    A signal that was already ignored when the process started, as under `nohup`, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise Interrupted(f"Stopped by {name}; finished work is kept, and the same command continues it.", number)

    old = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    taken = [number for number, handler in old.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, old[number])
