"""macOS and Windows lack some modules and names of Linux: files must load and write there too."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "grsap"
FILES = sorted(SOURCE.rglob("*.py"))
MISSING_MODULES = {"fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty"}
MISSING_NAMES = {
    "os": {"O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "pread", "getuid", "geteuid", "fork", "sched_getaffinity"},
    "signal": {"SIGUSR1", "SIGHUP"},
    "errno": {"EREMOTEIO"},
}
LIGHT = [
    path.relative_to(SOURCE.parent).with_suffix("").as_posix().replace("/", ".")
    for path in (*SOURCE.glob("*.py"), *(SOURCE / "pages").glob("*.py"))
    if path.stem not in ("__main__", "compat") and "matplotlib" not in path.read_text(encoding="utf-8")
]

WITHOUT = f"""
import sys
import os, signal, errno
for name in {sorted(MISSING_MODULES)}:
    sys.modules[name] = None
for module, names in {MISSING_NAMES}.items():
    for name in names:
        vars(sys.modules[module]).pop(name, None)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
from pathlib import Path
from grsap.appending import AppendFile
from grsap.files import write_json
write_json("a.json", {{"a": 1}})
for _ in range(2):
    with AppendFile("b.jsonl") as file:
        file.append(b"{{}}\\n")
print(len(Path("b.jsonl").read_bytes()))
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_use_what_all_systems_have(path: Path) -> None:
    """Functions may import the rest where they guard it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr in MISSING_NAMES.get(node.value.id, ())
    }
    assert imported & MISSING_MODULES | used == set()


def test_light_modules_load_and_write_without_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, *LIGHT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
    assert len(LIGHT) > 20
