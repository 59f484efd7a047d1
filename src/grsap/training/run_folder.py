"""The folder of a run: what lies where, whether it may be used, and its newest checkpoint. No torch."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import yaml

from grsap.differences import setting_differences
from grsap.errors import RunFolderError
from grsap.files import folder_lock, hash_file, write_json
from grsap.yaml_text import load_yaml, read_yaml

_log = logging.getLogger(__name__)

STATE_FILE = "state.json"
NOT_COMPARED = frozenset({"run_dir", "config", "trainer.default_root_dir"})
"""Keys of a config that do not make it another run."""

_CHECKPOINT = re.compile(r"step=(\d+)")
_STALE = re.compile(r"\..+\.\d+\.(tmp|old)")

RunStatus = Literal["new", "unfinished", "finished"]


def checkpoint_name(step: int) -> str:
    """Name of the folder of the checkpoint after `step` optimizer steps; names sort like steps below a million."""
    return f"step={step:06d}"


def checkpoint_step(path: Path) -> int | None:
    """The step in a checkpoint folder's name; None if it is no such name."""
    match = _CHECKPOINT.fullmatch(path.name)
    return None if match is None else int(match[1])


def seal_checkpoint(folder: Path, step: int) -> None:
    """Write `state.json`: the step, and the hash of each other file of the checkpoint."""
    files = {
        str(file.relative_to(folder)): hash_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != STATE_FILE
    }
    write_json(folder / STATE_FILE, {"schema": "grsap.checkpoint/1", "step": step, "files": files})


def checkpoint_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if each file has the hash that `state.json` says."""
    try:
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        files = dict(state["files"])
        if state["step"] != checkpoint_step(folder) or "trainer.ckpt" not in files:
            return f"{STATE_FILE} does not belong to it"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{STATE_FILE} is missing or not readable"
    for name, expected in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if hash_file(folder / name) != expected:
            return f"{name} is truncated or changed"
    return None


class RunFolder:
    """A run's folder. Making the object touches nothing.

    Args:
        path: the run folder, `--run_dir`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.manifest = self.path / "manifest.json"
        self.metrics = self.path / "metrics.csv"
        self.adapter = self.path / "adapter"
        self.checkpoints_dir = self.path / "checkpoints"
        self.transcripts = self.path / "transcripts"
        self.summary = self.path / "summary.json"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint after `step` optimizer steps lies."""
        return self.checkpoints_dir / checkpoint_name(step)

    def checkpoints(self) -> list[Path]:
        """All checkpoint folders, oldest first, damaged ones too."""
        if not self.checkpoints_dir.is_dir():
            return []
        found = [(step, path) for path in self.checkpoints_dir.iterdir() if (step := checkpoint_step(path)) is not None]
        return [path for _, path in sorted(found)]

    def newest_checkpoint(self, say: Callable[[str], None] = _log.warning) -> Path | None:
        """The newest checkpoint whose files have the hashes of its `state.json`; None if there is none.

        Args:
            say: is told of each damaged one that is passed over.
        """
        for path in reversed(self.checkpoints()):
            damage = checkpoint_damage(path)
            if damage is None:
                return path
            say(f"Checkpoint {path.name} is damaged ({damage}): going back to the one before.")
        return None

    def read_summary(self) -> dict[str, Any] | None:
        """`summary.json`; None if it is missing or not readable."""
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return summary if isinstance(summary, dict) else None

    @property
    def is_finished(self) -> bool:
        """Whether the run in it came to its end."""
        summary = self.read_summary()
        return summary is not None and summary.get("status") == "finished"

    @property
    def status(self) -> RunStatus:
        """`new`: missing or empty (hidden files left out); `finished`; else `unfinished`."""
        if self.is_finished:
            return "finished"
        return "unfinished" if _visible(self.path) else "new"

    def differences(self, config: str) -> list[str]:
        """How another config differs from the run's `config.yaml`: lines `key: old -> new`, in the order of the keys.

        Args:
            config: YAML, as written to `config.yaml`.
        """
        try:
            old = read_yaml(self.config)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return []
        return setting_differences(old, load_yaml(config), NOT_COMPARED)

    def check(self, config: str, *, resume: bool) -> RunStatus:
        """Whether a run with this config may use the folder. Nothing is written.

        Returns:
            `new`: start from step 0. `unfinished` (only with `resume`): go on from `newest_checkpoint()`, or from step
            0 if there is none. `finished`: the same run is done; print its summary.

        Raises:
            RunFolderError: it holds another run, an unfinished one and `resume` is off, or something that is no run.
        """
        status = self.status
        if status == "finished" and (differences := self.differences(config)):
            more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
            raise RunFolderError(
                f"run_dir {self.path} holds a finished run with other settings: {'; '.join(differences[:3])}{more}",
                "Choose another folder with --run_dir, or remove this one",
            )
        if status == "unfinished" and not self._holds_a_run():
            raise RunFolderError(
                f"run_dir {self.path} is not empty and holds no run of grsap", "Choose an empty folder with --run_dir"
            )
        if status == "unfinished" and not resume:
            raise RunFolderError(
                f"run_dir {self.path} holds an unfinished run",
                "Add --resume to go on with it, or choose another folder with --run_dir",
            )
        return status

    def remove_start(self) -> None:
        """Take back what a run that failed before its first step has written, if there is nothing else."""
        if set(_visible(self.path)) <= {self.config, self.manifest}:
            self.config.unlink(missing_ok=True)
            self.manifest.unlink(missing_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for this process, as `grsap.files.folder_lock` does."""
        return folder_lock(self.path)

    def remove_stale(self) -> None:
        """Remove the temporary files and folders that a killed run left. Call it with the lock held."""
        for folder in (self.path, self.checkpoints_dir, self.transcripts):
            for entry in _entries(folder):
                if _STALE.fullmatch(entry.name):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)

    def _holds_a_run(self) -> bool:
        return any(path.exists() for path in (self.config, self.manifest, self.checkpoints_dir))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.name.startswith(".")]
