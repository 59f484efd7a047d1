"""Coverage-guided fuzzing of one parser: `python -m tests.badinput.fuzz NAME -max_total_time=SECONDS` (needs atheris).

What ends it is a fault; libFuzzer leaves the input as `crash-*` in the working directory.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["grsap"]):
    from tests.badinput.parsers import PARSERS, try_parser


def main(words: list[str]) -> None:
    """Fuzz until the time is over."""
    name, *options = words[1:]
    if name not in PARSERS:
        sys.exit(f"{name} is no parser. Give one of {', '.join(PARSERS)}.")
    atheris.Setup([words[0], "-timeout=20", *options], lambda data: try_parser(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
