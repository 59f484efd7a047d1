"""Recognise a repeated call of a finished run by its words and config files, without importing torch."""

from __future__ import annotations

from pathlib import Path

import yaml

from grsap.commands.config_keys import CONFIG_OPTIONS, config_files, option_values
from grsap.commands.invocation import Invocation
from grsap.embedded import resolve
from grsap.errors import UserError
from grsap.files import hash_file, hash_json, user_path, write_atomic
from grsap.json_text import read_json
from grsap.runs.folder import INVOCATION
from grsap.yaml_text import read_yaml

DEFAULT_RUN_DIR = "runs/default"


def invocation_hash(invocation: Invocation) -> str | None:
    """Return a hash of the words and of the config files' bytes; None if a file cannot be read."""
    try:
        files = [hash_file(path) for path in config_files(invocation.args)]
    except OSError:
        return None
    return hash_json([invocation.verb, list(invocation.args), files])


def guess_run_dir(invocation: Invocation) -> Path | None:
    """Return the run folder that command line and config files name, without the parser; None if a file is broken."""
    run_dir = DEFAULT_RUN_DIR
    for option, value in option_values(invocation.args, "--run_dir", *CONFIG_OPTIONS):
        if option == "--run_dir":
            run_dir = value
            continue
        try:
            config = read_yaml(Path(value))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        if isinstance(config, dict) and "run_dir" in config:
            run_dir = str(config["run_dir"])
    return user_path(run_dir)


def finished_run(invocation: Invocation) -> Path | None:
    """Return the folder of the run that an identical call has finished; None if there is none."""
    run_dir = guess_run_dir(invocation)
    if run_dir is None:
        return None
    try:
        same = (run_dir / INVOCATION).read_text(encoding="utf-8") == invocation_hash(invocation)
        summary = read_json(run_dir / "summary.json")
    except (OSError, ValueError):
        return None
    return run_dir if same and isinstance(summary, dict) and summary.get("status") == "finished" else None


def changed_inputs(run_dir: Path) -> list[str]:
    """Return the inputs named in a finished run's manifest whose content has changed; missing ones are left out."""
    try:
        manifest = read_json(run_dir / "manifest.json")
        files, base = dict(manifest["files"]), dict(manifest["base"])
        ended_ns = (run_dir / "summary.json").stat().st_mtime_ns
    except (OSError, ValueError, KeyError, TypeError):
        return []
    changed = [name for name, found in files.items() if _is_other_file(name, found)]
    folder = Path(str(base.get("path")))
    # Hashing imports torch, which takes seconds, and reads all weights: only if a file is newer than the run's end.
    if folder.is_dir() and any(file.stat().st_ctime_ns > ended_ns for file in folder.iterdir()):
        from grsap.models.weight_files import WeightFiles

        changed += [str(folder)] * (WeightFiles.of_model(folder).hash != base.get("content_hash"))
    return changed


def _is_other_file(name: str, expected: str) -> bool:
    try:
        return hash_file(resolve(name)) != expected
    except (OSError, UserError):
        return False


def is_marked_finished(run_dir: Path) -> bool:
    """Return whether a call has completed the run; the file is written last."""
    return (run_dir / INVOCATION).exists()


def mark_finished(run_dir: Path, invocation: Invocation) -> None:
    """Store in the run folder which call finished it."""
    value = invocation_hash(invocation)
    if value is not None:
        write_atomic(run_dir / INVOCATION, value)
