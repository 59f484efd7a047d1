"""Turn errors into exit codes and one paragraph on stderr. Standard library only."""

from __future__ import annotations

import os
import sys
import textwrap
import traceback
from argparse import ArgumentError
from collections.abc import Callable

from grsap.commands.blame import users_error, users_place
from grsap.commands.parsing_errors import parsing_paragraph
from grsap.commands.places import name_place
from grsap.disk import disk_error
from grsap.errors import GrsapError, Interrupted, UserError, first_line, user_error_within
from grsap.streams import guarded_streams

FAILURE = 1
USER_INPUT = 2
INTERRUPTED = 130


def run_guarded(command: Callable[[], int], *, debug: bool = False) -> int:
    """Run a command and return its exit code; errors print as one paragraph, with a traceback only if `debug`.

    0 is success, 2 wrong input of the user, 1 any other failure, 130 Ctrl-C, and 128 + n signal n after saving (143
    SIGTERM, 138 SIGUSR1, 129 SIGHUP).
    """
    with guarded_streams():
        return _run_guarded(command, debug)


def _run_guarded(command: Callable[[], int], debug: bool) -> int:
    try:
        return command()
    except Interrupted as stop:
        report(str(stop), debug)
        return stop.exit_code
    except SystemExit as exit_:
        place = users_place(exit_)
        if place is not None:
            report(f"error: {place} ends the process. Raise an exception instead.", debug, every_rank=True)
            return USER_INPUT
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else USER_INPUT
    except KeyboardInterrupt:
        report("stopped by Ctrl-C.", debug)
        return INTERRUPTED
    except ArgumentError as error:
        report(f"error: {parsing_paragraph(str(error))}", debug)
        return USER_INPUT
    except UserError as error:
        report(f"error: {name_place(error)}", debug)
        return error.exit_code
    except GrsapError as error:
        report(f"error: {error}", debug)
        return error.exit_code
    except Exception as error:
        known = user_error_within(error)
        if known is not None:
            report(f"error: {name_place(known)}", debug)
            return known.exit_code
        known = users_error(error) or disk_error(error, action="read or written")
        if known is not None:
            report(f"error: {known}", debug, every_rank=True)
            return known.exit_code
        hint = "" if debug else " This is a bug in grsap or in a library: run again with --debug for the traceback."
        report(f"internal error: {type(error).__name__}: {first_line(error)}.{hint}", debug, every_rank=True)
        return FAILURE


def report(message: str, debug: bool, every_rank: bool = False) -> None:
    """Print one paragraph on stderr; only on rank 0 unless `every_rank`."""
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank != "0":
        if not (debug or every_rank):
            return
        message = f"rank {rank}: {message}"
    if debug:
        traceback.print_exc()
    columns = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    width = min(100, columns or 100)  # a terminal may have no size
    print(textwrap.fill(message, width, break_long_words=False, break_on_hyphens=False), file=sys.stderr)
