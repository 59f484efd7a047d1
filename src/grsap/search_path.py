"""Keep modules of the working directory from shadowing installed ones. Standard library only.

A working directory may be untrusted: its `rich.py` must not replace the installed package, nor its `opt_einsum.py`
satisfy a library's optional import. `grsap.commands.local_modules` finds the modules that settings name.

This module is imported while the directory is still on the path. It imports only `os` and `sys`, which are loaded by
then.
"""

import os
import sys


def leave_working_directory() -> None:
    """Remove the working directory from `sys.path`, here and in child processes that run Python.

    `python -m` and an empty entry of PYTHONPATH put it there.
    """
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109 (the working directory may have a pathlib.py)
    except FileNotFoundError:  # the directory was removed
        here = None
    sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != here]
    os.environ["PYTHONSAFEPATH"] = "1"
