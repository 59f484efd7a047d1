"""The git commit of a folder, read without running programs of its configuration. Standard library only.

`.git/config` may name programs that git runs on `status`: a file system monitor, hooks, and filters for file contents.
A working directory may come from anywhere, so none of them may run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OPTIONS = (
    "--no-optional-locks",
    "--no-pager",
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never"),  # objects that a partial clone lacks would be fetched by a program of its choice
)
_TIMEOUT_S = 10


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that `folder` is in, and whether tracked files differ from it; None outside of one.

    `dirty` is None if git could run filters of the repository's own configuration.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    settings = _git(folder, "config", "--list", "--show-scope", "--name-only", "-z")
    if settings is None or _names_filters(settings):
        return {"commit": commit, "dirty": None}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _names_filters(settings: str) -> bool:
    """Whether a filter is set by the repository; those of the user's own configuration are the user's.

    Args:
        settings: scope, NUL, name, NUL, and so on.
    """
    words = settings.split("\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    return any(scope not in ("system", "global", "command") and name.startswith("filter.") for scope, name in pairs)


def _git(folder: Path, *words: str) -> str | None:
    """The output of git; None if it fails or is missing."""
    program = shutil.which("git")
    if program is None or not Path(program).is_absolute():  # a relative one would be the working directory's
        return None
    try:
        done = subprocess.run(
            [program, "-C", str(folder), *_OPTIONS, *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=_environment(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment without git's own variables, which may name another repository or programs."""
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
