"""Rivals live in environments of their own, which are made here once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from grsap.errors import UserError
from grsap.files import hash_file, write_atomic

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "benchmarks" / "requirements"
TORCH = "torch==2.13.0"
"""Installed first, so that what comes after takes it as it is."""


def python_of(environment: str | None) -> str:
    """The interpreter of an environment; None is the one that runs.

    Raises:
        UserError: the environment cannot be made.
    """
    if environment is None:
        return sys.executable
    folder = ROOT / f".venv-{environment}"
    python = folder / "bin" / "python"
    requirements = REQUIREMENTS / f"{environment}.txt"
    wanted = f"{hash_file(requirements)} {hash_file(ROOT / 'constraints.txt')}\n"
    ready = folder / ".ready"
    if not (ready.is_file() and ready.read_text() == wanted):
        print(f"Installing {environment} into {folder.name} ...", file=sys.stderr, flush=True)
        if not python.is_file():
            _run([sys.executable, "-m", "venv", str(folder)], environment)
        pip = [str(python), "-m", "pip", "install", "-q"]
        # The versions that grsap is measured with, as far as the rival allows them.
        if environment != "unsloth":  # it pins a torch of its own
            pip += ["-c", str(ROOT / "constraints.txt")]
            _run([*pip, TORCH], environment)
        _run([*pip, "-r", str(requirements)], environment)
        write_atomic(ready, wanted)
    return str(python)


def _run(command: list[str], environment: str) -> None:
    done = subprocess.run(command, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, check=False)
    if done.returncode:
        raise UserError(
            f"the environment of {environment} cannot be made: `{' '.join(command)}` ended with {done.returncode}",
            "See above for the reason; it needs a network",
        )
