"""Running the blocks of a page of docs/ as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Language, name (None without one) and text."""


def run_block(text: str, folder: Path, python: str | Path, **environment: str) -> str:
    """Run a block of commands in `folder`, where `grsap` is this tree's by `python`; what it printed."""
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    (binaries / "grsap").write_text(f'#!/bin/sh\nexec {python} -m grsap "$@"\n')
    (binaries / "grsap").chmod(0o755)
    paths = {"PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-ec", text],
        cwd=folder,
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout
