"""The folder of a run: its paths, whether a run may use it, and its newest checkpoint. Imports no torch."""

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
"""First line of `config.yaml` in a run folder; distinguishes it from folders that grsap did not write."""
MANIFEST_SCHEMA = "grsap.manifest/1"
SUMMARY_SCHEMA = "grsap.summary/1"
INVOCATION = ".invocation"
"""Name of the file with the hash of the command line that finished the run."""
NOT_COMPARED = frozenset({"run_dir", "config", "trainer.default_root_dir"})
"""Keys that two configs of the same run may set differently."""
LENGTH_BOUNDS = ("max_epochs", "max_steps", "max_time")
"""Trainer settings that bound the length of a run; also values of `stop_reason`."""
LENGTH_KEYS = tuple(f"trainer.{name}" for name in LENGTH_BOUNDS)
"""Keys whose change extends a finished run."""

_CHECKPOINT = re.compile(r"step=(\d+)")
_TEMPORARY = re.compile(
    r"\.(config\.yaml|manifest\.json|summary\.json|metrics\.csv|predictions\.jsonl|\.invocation|adapter|README\.md"
    r"|step=\d+|(task-)?step=\d+\.jsonl)\.\w+\.(tmp|old)"
)
"""Matches names of temporary files and folders of a run, and no others."""

RunStatus = Literal["new", "unfinished", "finished", "extended"]


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint after `step` optimizer steps; below 1,000,000, names sort like steps."""
    return f"step={step:06d}"


def checkpoint_step(path: Path) -> int | None:
    """Return the optimizer step in the name of a checkpoint folder; None for other names."""
    match = _CHECKPOINT.fullmatch(path.name)
    return None if match is None else int(match[1])


def seal_checkpoint(folder: Path, step: int) -> None:
    """Write `state.json`: the step, and the hash of every other file of the checkpoint."""
    files = {
        str(file.relative_to(folder)): hash_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != STATE_FILE
    }
    write_json(folder / STATE_FILE, {"schema": "grsap.checkpoint/1", "step": step, "files": files})


def checkpoint_damage(folder: Path) -> str | None:
    """Describe the damage of a checkpoint; None if each file has its hash in `state.json`.

    Raises:
        RunFolderError: a file exists but cannot be read (input/output error, no permission, stale handle). This is not
            called damage, because the cause may be temporary.
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
    """Describe the first file that is missing or changed; None if all files have their hashes.

    Args:
        folder: folder of the files.
        hashes: file name -> hash by `hash_file`.

    Raises:
        RunFolderError: a file exists but cannot be read.
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
    """The folder of a run. The constructor does not access the disk.

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
        """Return the folder of the checkpoint after `step` optimizer steps."""
        return self.checkpoints_dir / checkpoint_name(step)

    def checkpoints(self) -> list[Path]:
        """Return all checkpoint folders, oldest first, damaged ones included."""
        entries = _entries(self.checkpoints_dir)
        found = [(step, path) for path in entries if (step := checkpoint_step(path)) is not None]
        return [path for _, path in sorted(found)]

    def check_no_other_checkpoint(self) -> None:
        """Check that there is no checkpoint of another program that Lightning would load.

        In a SLURM job, Lightning loads `hpc_ckpt_*.ckpt` from the run folder if no checkpoint is passed to it.

        Raises:
            RunFolderError: there is such a file.
        """
        found = [entry for entry in _entries(self.path) if re.fullmatch(r"hpc_ckpt_\d+\.ckpt", entry.name)]
        if found:
            raise RunFolderError(
                f"{found[0]} was not written by grsap, and Lightning would load it in a SLURM job", "Move it away"
            )

    def newest_checkpoint(self, say: Callable[[str], None] = _log.warning) -> Path | None:
        """Return the newest checkpoint whose files have the hashes in its `state.json`; None if there is none.

        Args:
            say: called with a message for each damaged checkpoint that is skipped.
        """
        for path in reversed(self.checkpoints()):
            damage = checkpoint_damage(path)
            if damage is None:
                return path
            say(f"Checkpoint {path.name} is damaged ({damage}): trying the previous one.")
        return None

    def read_summary(self) -> dict[str, Any] | None:
        """Return the content of `summary.json`; None if it is missing or not a JSON object.

        Raises:
            RunFolderError: it exists but cannot be read.
        """
        return read_object(self.summary)

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the content of `manifest.json`, as `read_summary` does."""
        return read_object(self.manifest)

    @property
    def is_finished(self) -> bool:
        """Whether the run in the folder is finished, by its summary."""
        summary = self.read_summary()
        return summary is not None and summary.get("status") == "finished"

    @property
    def holds_run(self) -> bool:
        """Whether `grsap fit` wrote the folder, by the content of its files; file names are no evidence."""
        try:
            with reading(self.config), self.config.open("rb") as file:
                if file.readline().strip() == HEADING.encode():
                    return True
        except OSError:
            pass
        manifest = self.read_manifest()  # runs of older versions have no heading in config.yaml
        return manifest is not None and manifest.get("schema") == MANIFEST_SCHEMA

    @property
    def status(self) -> RunStatus:
        """`new` for a folder that is missing or has hidden files only; otherwise `finished` or `unfinished`."""
        if not _visible(self.path):
            return "new"
        return "finished" if self.holds_run and self.is_finished else "unfinished"

    def differences(self, config: str) -> list[str] | None:
        """Compare a config with the run's `config.yaml`.

        Args:
            config: YAML, as written to `config.yaml`.

        Returns:
            A line `key: old -> new` per difference, sorted by key; None if `config.yaml` is missing or not YAML.

        Raises:
            RunFolderError: `config.yaml` exists but cannot be read.
        """
        try:
            with reading(self.config):
                old = read_yaml(self.config)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        return setting_differences(old, load_yaml(config), NOT_COMPARED)

    def check(self, config: str, *, resume: bool) -> RunStatus:
        """Check whether a run with this config may use the folder. Writes nothing.

        Returns:
            `new`: start from step 0. `unfinished` (only with `resume`): continue from `newest_checkpoint()`, or from
            step 0 if there is none. `finished`: this run is finished; print its summary. `extended` (only with
            `resume`): this run is finished, and the config changes its length only.

        Raises:
            RunFolderError: the folder has another run, an unfinished run without `resume`, or files of no run.
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
                "Add --resume to continue it, or choose another folder with --run_dir",
            )
        return status

    def _check_finished(self, config: str, resume: bool) -> RunStatus:
        differences = self.differences(config)
        if differences is None:
            raise RunFolderError(
                f"{self.config} is missing or not YAML, so the settings of the finished run are unknown",
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
        """Write the config of a run that starts or resumes; call it after all checks.

        Moves away the summary and adapter of a finished run that is extended, and files that have the names of a
        run's files but were not written by grsap.

        Args:
            config: YAML; None to keep `config.yaml`.

        Returns:
            The folder of the moved files; None if none was moved.
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
        """Remove config and manifest of a run that failed before its first step, if the folder has nothing else."""
        if set(_visible(self.path)) <= {self.config, self.manifest}:
            self.config.unlink(missing_ok=True)
            self.manifest.unlink(missing_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Lock the folder for this process inside the block; see `grsap.files.folder_lock`."""
        return folder_lock(self.path)

    def remove_stale(self) -> None:
        """Remove temporary files and folders of a killed run. The caller must hold the lock."""
        for folder in (self.path, self.checkpoints_dir, self.transcripts, self.adapter):
            for entry in _entries(folder):
                if not _TEMPORARY.fullmatch(entry.name):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if the file is missing or has other content.

    Raises:
        RunFolderError: the file exists but cannot be read.
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
