"""Attributing an unexpected exception to a user's class, a setting, or grsap."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import reduce
from inspect import isfunction
from pathlib import Path
from types import CodeType, FrameType

import grsap
from grsap.errors import ConfigError, UserError, first_line
from grsap.plugins import source_place

_OWN = Path(grsap.__file__).resolve().parent
_STDLIB = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_SITE = {"site-packages", "dist-packages"}
_CALLBACKS = "lightning.pytorch.callbacks."
"""Lightning's own callbacks. grsap uses none of them, so one that fails was named by a setting."""

TRUSTED_MODULES: set[str] = set()
"""Installed packages that the user named by `--trust-module`: their exceptions are the user's."""


def users_error(error: BaseException) -> UserError | None:
    """Return the error to report if the user's code or settings are the cause; None if it may be a bug in grsap.

    Args:
        error: as caught, with its traceback.
    """
    seen: BaseException | None = error
    while seen is not None:
        if (place := users_place(seen)) is not None:
            said = f"{type(seen).__name__}: {first_line(seen)}"
            return ConfigError(f"{place}: {said}", "Correct it there; --debug shows the traceback")
        if (place := _users_signature(seen)) is not None:
            return ConfigError(
                f"{first_line(seen)} ({place})",
                "Give it the parameters that its base class has; --debug shows the call",
            )
        seen = seen.__cause__
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, of the Trainer's arguments
        return ConfigError(
            f"The Trainer rejects its settings: {' '.join(str(error).split())}", "Change them under `trainer`"
        )
    frames = _frames(error)
    module = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    if module.startswith(_CALLBACKS):
        return ConfigError(
            f"A callback of {module} failed: {type(error).__name__}: {' '.join(str(error).split())}",
            "Change or remove it in trainer.callbacks",
        )
    return None


def users_place(error: BaseException) -> str | None:
    """Return file, line and function of the innermost frame in the user's code; None if no frame is in it.

    The user's code is everything outside grsap, the standard library and installed packages, except packages named by
    `--trust-module`.
    """
    if isinstance(error, SyntaxError) and error.filename and is_users_file(error.filename):
        return f"{shown_path(error.filename)}, line {error.lineno}"
    traceback, found = error.__traceback__, None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if _is_users_code(code, module):
            found = f"{shown_path(code.co_filename)}, line {traceback.tb_lineno}, in {code.co_qualname}"
        traceback = traceback.tb_next
    return found


def _users_signature(error: BaseException) -> str | None:
    """File and line of the user's function whose parameters do not fit the call that raised `error`.

    Python raises in the caller, so that no frame of the traceback is the user's.
    """
    match = re.match(r"([\w.]+)\(\) (takes|missing|got an?) ", str(error)) if isinstance(error, TypeError) else None
    first, *rest = match[1].split(".") if match else [""]
    for module in list(sys.modules.values()) if first else ():
        outermost = getattr(module, "__dict__", {}).get(first)
        member = reduce(lambda found, name: getattr(found, name, None), rest, outermost)
        if isfunction(member) and _is_users_code(member.__code__, member.__module__):
            return source_place(member)
    return None


def _is_users_code(code: CodeType, module: str) -> bool:
    return module.partition(".")[0] in TRUSTED_MODULES or is_users_file(code.co_filename)


def is_users_file(name: str) -> bool:
    """Return whether a source file is outside grsap, the standard library and installed packages."""
    if name.startswith("<"):
        return False
    path = Path(name).resolve()
    if _SITE.intersection(path.parts) or path.is_relative_to(_OWN):
        return False
    return not any(path.is_relative_to(folder) for folder in _STDLIB)


def shown_path(name: str) -> str:
    """Return a path relative to the working directory if it is below it, otherwise unchanged."""
    relative = os.path.relpath(name)
    return name if relative.startswith("..") else relative


def _frames(error: BaseException) -> list[FrameType]:
    traceback, frames = error.__traceback__, []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
