"""Read the git commit of a folder without running programs of its configuration. Standard library only.

`.git/config` may name programs that git runs on `status`: a file system monitor, hooks, and filters for file contents.
A working directory may be untrusted, so none of them may run.
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
    *("-c", "protocol.allow=never"),  # a partial clone may name a program that fetches missing objects
)
_TIMEOUT_S = 10


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the folder's repository, and whether tracked files differ from it; None without one.

    `dirty` is None if git might run filters of the repository's own configuration.
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
    """Return whether the repository configures a filter; filters of the user's own configuration are trusted.

    Args:
        settings: scopes and names in turn, each followed by NUL.
    """
    words = settings.split("\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    return any(scope not in ("system", "global", "command") and name.startswith("filter.") for scope, name in pairs)


def _git(folder: Path, *words: str) -> str | None:
    """Return the output of git; None if it fails or is not installed."""
    program = shutil.which("git")
    if program is None or not Path(program).is_absolute():  # a relative path may be in the working directory
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
    """Return the environment without git's variables, which may name another repository or programs."""
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
