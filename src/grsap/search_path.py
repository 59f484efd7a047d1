"""Keeps the working directory's modules from passing for installed ones. Standard library only.

A working directory may come from anywhere. Its `rich.py` must not be taken for the installed package, nor its
`opt_einsum.py` for one that a library imports if it is there. `grsap.commands.local_modules` finds what settings name.

This module is imported while the directory is still on the path. It needs `os` and `sys` only, which are loaded then.
"""

import os
import sys


def leave_working_directory() -> None:
    """Remove the working directory from `sys.path`, here and in child processes that run Python.

    `python -m` and an empty entry of PYTHONPATH put it there.
    """
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109 (pathlib could be the working directory's)
    except FileNotFoundError:  # it was removed
        here = None
    sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    os.environ["PYTHONSAFEPATH"] = "1"
