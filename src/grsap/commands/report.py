"""`grsap report`: one HTML page about the output folders of other verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from grsap.commands.invocation import FlagParser
from grsap.files import user_path

EPILOG = """\
DIR is a run folder of grsap fit, or an --output_dir of grsap synthesize, curate, evaluate or similarity. The page is
one file without scripts or external resources. It shows a few prompts and answers after a click, and is then readable
by you only (mode 0600); with --no_transcripts it shows none. A page of an earlier call is replaced, any other file is
not.
"""


def run(verb: str, args: Sequence[str]) -> int:
    """Write the page and return the exit code.

    Raises:
        UserError: a folder was not made by grsap, or the page cannot be written.
    """
    parser = FlagParser(
        prog="grsap report",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders to report on; colours follow their order")
    parser.add_argument("--output", default="report.html", help="file of the page (default: %(default)s)")
    parser.add_argument("--title", default="grsap report", help="heading of the page")
    parser.add_argument("--no_transcripts", "--no-transcripts", action="store_true", help="show no prompts and answers")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    given = parser.parse_args(list(args))
    return write_report(given.folders, user_path(given.output), given.title, with_transcripts=not given.no_transcripts)


def write_report(folders: Sequence[str], output: Path, title: str, *, with_transcripts: bool) -> int:
    """Write the page and print its path."""
    from grsap.pages import check_target, write_page
    from grsap.reporting import Report

    check_target(output)
    report = Report(folders, with_transcripts=with_transcripts, title=title)
    text = report.html()
    write_page(output, text, holds_texts=report.holds_texts)
    access = "; it shows prompts and answers, and is readable by you only" if report.holds_texts else ""
    print(f"{output}: {len(text) / 1000:,.0f} kB, {len(report.sources)} folders{access}")
    return 0
