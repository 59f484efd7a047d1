"""The folder of a run: what lies where, whether it may be used, and its newest checkpoint. No torch."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import yaml

from grsap.differences import setting_differences
from grsap.disk import reading
from grsap.errors import RunFolderError
from grsap.files import folder_lock, hash_file, set_aside, write_atomic, write_json
from grsap.json_text import read_json
from grsap.yaml_text import load_yaml, read_yaml

_log = logging.getLogger(__name__)

STATE_FILE = "state.json"
HEADING = "# grsap fit"
"""First line of `config.yaml` in the folder of a run; tells it from a folder of something else."""
MANIFEST_SCHEMA = "grsap.manifest/1"
SUMMARY_SCHEMA = "grsap.summary/1"
INVOCATION = ".invocation"
"""File with the hash of the call that finished the run."""
NOT_COMPARED = frozenset({"run_dir", "config", "trainer.default_root_dir"})
"""Keys of a config that do not make it another run."""
LENGTH_BOUNDS = ("max_epochs", "max_steps", "max_time")
"""Settings of the Trainer that only decide where a run ends, as `stop_reason` names them."""
LENGTH_KEYS = tuple(f"trainer.{name}" for name in LENGTH_BOUNDS)
"""Keys of a config by which a finished run can be extended."""

_CHECKPOINT = re.compile(r"step=(\d+)")
_TEMPORARY = re.compile(
    r"\.(config\.yaml|manifest\.json|summary\.json|metrics\.csv|predictions\.jsonl|\.invocation|adapter|README\.md"
    r"|step=\d+|(task-)?step=\d+\.jsonl)\.\w+\.(tmp|old)"
)
"""Names of the temporary files and folders of a run, and of nothing else."""

RunStatus = Literal["new", "unfinished", "finished", "extended"]


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
    """What is wrong with a checkpoint; None if each file has the hash that `state.json` says.

    Raises:
        RunFolderError: a file is there and cannot be read now (input/output error, no permission, stale handle). That
            is no damage: it may pass.
    """
    try:
        with reading(folder / STATE_FILE):
            state = read_json(folder / STATE_FILE)
        files = dict(state["files"])
        if state["step"] != checkpoint_step(folder) or "trainer.ckpt" not in files:
            return f"{STATE_FILE} does not belong to it"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{STATE_FILE} is missing or not readable"
    return changed_file(folder, files)


def changed_file(folder: Path, hashes: Mapping[str, str]) -> str | None:
    """Which file of a folder is missing or does not have its hash; None if all are as they were.

    Args:
        folder: of the files.
        hashes: by name, as `hash_file` gives them.

    Raises:
        RunFolderError: a file is there and cannot be read now.
    """
    for name, expected in hashes.items():
        try:
            with reading(folder / name):
                found = hash_file(folder / name)
        except OSError:
            return f"{name} is missing"
        if found != expected:
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
        entries = _entries(self.checkpoints_dir)
        found = [(step, path) for path in entries if (step := checkpoint_step(path)) is not None]
        return [path for _, path in sorted(found)]

    def check_no_other_checkpoint(self) -> None:
        """Check that Lightning finds nothing to load by itself, as it does in SLURM jobs if it is given no checkpoint.

        Raises:
            RunFolderError: names the file.
        """
        found = [entry for entry in _entries(self.path) if re.fullmatch(r"hpc_ckpt_\d+\.ckpt", entry.name)]
        if found:
            raise RunFolderError(
                f"{found[0]} was not written by grsap, and Lightning would load it in a SLURM job", "Move it away"
            )

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
        """`summary.json`; None if it is missing or no JSON object.

        Raises:
            RunFolderError: it is there and cannot be read now.
        """
        return read_object(self.summary)

    def read_manifest(self) -> dict[str, Any] | None:
        """The same of `manifest.json`."""
        return read_object(self.manifest)

    @property
    def is_finished(self) -> bool:
        """Whether the run in it came to its end."""
        summary = self.read_summary()
        return summary is not None and summary.get("status") == "finished"

    @property
    def holds_run(self) -> bool:
        """Whether `grsap fit` made what is in it, as its own files say; names alone say nothing."""
        try:
            with reading(self.config), self.config.open("rb") as file:
                if file.readline().strip() == HEADING.encode():
                    return True
        except OSError:
            pass
        manifest = self.read_manifest()  # of a run that was begun before config.yaml had a heading
        return manifest is not None and manifest.get("schema") == MANIFEST_SCHEMA

    @property
    def status(self) -> RunStatus:
        """`new`: missing or empty (hidden files left out); `finished`; else `unfinished`."""
        if not _visible(self.path):
            return "new"
        return "finished" if self.holds_run and self.is_finished else "unfinished"

    def differences(self, config: str) -> list[str] | None:
        """How another config differs from the run's `config.yaml`: lines `key: old -> new`, in the order of the keys.

        Args:
            config: YAML, as written to `config.yaml`.

        Returns:
            None if the run's own is missing or is no YAML.

        Raises:
            RunFolderError: it is there and cannot be read now.
        """
        try:
            with reading(self.config):
                old = read_yaml(self.config)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        return setting_differences(old, load_yaml(config), NOT_COMPARED)

    def check(self, config: str, *, resume: bool) -> RunStatus:
        """Whether a run with this config may use the folder. Nothing is written.

        Returns:
            `new`: start from step 0. `unfinished` (only with `resume`): go on from `newest_checkpoint()`, or from step
            0 if there is none. `finished`: the same run is done; print its summary. `extended` (only with `resume`):
            the same run is done, and the config has another end.

        Raises:
            RunFolderError: it holds another run, an unfinished one and `resume` is off, or something that is no run.
        """
        status = self.status
        if status == "finished":
            return self._check_finished(config, resume)
        if status == "unfinished" and not self.holds_run:
            raise RunFolderError(
                f"run_dir {self.path} is not empty and holds no run of grsap", "Choose an empty folder with --run_dir"
            )
        if status == "unfinished" and not resume:
            raise RunFolderError(
                f"run_dir {self.path} holds an unfinished run",
                "Add --resume to go on with it, or choose another folder with --run_dir",
            )
        return status

    def _check_finished(self, config: str, resume: bool) -> RunStatus:
        differences = self.differences(config)
        if differences is None:
            raise RunFolderError(
                f"{self.config} is missing or no YAML, so that it cannot be told whether the finished run is this one",
                "Restore it, or choose another folder with --run_dir",
            )
        if not differences:
            return "finished"
        if all(line.startswith(LENGTH_KEYS) for line in differences):
            if resume:
                return "extended"
            remedy = "Add --resume to extend the run, or choose another folder with --run_dir"
        else:
            remedy = "Choose another folder with --run_dir, or remove this one"
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise RunFolderError(
            f"run_dir {self.path} holds a finished run with other settings: {'; '.join(differences[:3])}{more}", remedy
        )

    def begin(self, config: str | None) -> Path | None:
        """Write the config of a run that starts or resumes, after everything about it has been accepted.

        What an earlier end left (summary, adapter) is set aside, and so are files at the run's places that no run
        wrote.

        Args:
            config: YAML; None to leave `config.yaml` as it is.

        Returns:
            Where the things set aside are now; None if there were none.
        """
        ended = [self.summary, self.adapter, self.path / INVOCATION] if self.is_finished else []
        foreign = [
            path
            for path, schema in ((self.summary, SUMMARY_SCHEMA), (self.manifest, MANIFEST_SCHEMA))
            if path.exists() and (read_object(path) or {}).get("schema") != schema
        ]
        moved = [path for path in dict.fromkeys([*ended, *foreign]) if path.exists()]
        place = set_aside(moved) if moved else None
        self.summary.unlink(missing_ok=True)  # of a run that was interrupted
        if config is not None:
            write_atomic(self.config, f"{HEADING}\n{config}")
        return place

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
        for folder in (self.path, self.checkpoints_dir, self.transcripts, self.adapter):
            for entry in _entries(folder):
                if not _TEMPORARY.fullmatch(entry.name):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no such file, or it holds something else.

    Raises:
        RunFolderError: the file is there and cannot be read now.
    """
    try:
        with reading(path):
            value = read_json(path)
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _entries(folder: Path) -> list[Path]:
    try:
        with reading(folder):
            return sorted(folder.iterdir())
    except OSError:
        return []


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.name.startswith(".")]
