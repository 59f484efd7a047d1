"""Runs a stage in a separate process, whose memory is freed when it ends, and which may start processes of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from grsap.checksums import read_checked_json, write_checked_json
from grsap.embedded import resolve
from grsap.errors import DataError, RunFolderError, StageError
from grsap.files import hash_file, hash_json, write_atomic
from grsap.json_text import read_json
from grsap.study.inputs import hashes_of_inputs
from grsap.study.plan import PlannedStage
from grsap.yaml_text import dump_yaml

MARK = ".study.json"
"""File in a stage's folder that records the finished call and its inputs. Hidden, so that the verb ignores it."""
SCHEMA = "grsap.study_stage/1"
_SETTINGS = ".settings"
_KILL_WITH_PARENT = 1


def words_of(stage: PlannedStage, study: Path) -> list[str]:
    """Return the words of the stage's command after `grsap`."""
    files = [*stage.configs, *([str(settings_path(stage, study))] if stage.settings else [])]
    output = "--run_dir" if stage.verb == "fit" else "--output_dir"
    words = [word for file in files for word in ("--config", file)]
    return [stage.verb, *words, output, str(stage.folder)]


def settings_path(stage: PlannedStage, study: Path) -> Path:
    """Return the path of the file with the settings that the study gives to a stage."""
    return study / _SETTINGS / f"{stage.name.replace('/', '--')}.yaml"


def stage_state(stage: PlannedStage, study: Path, summaries: Mapping[str, Path]) -> dict[str, Any]:
    """Return what a stage's results depend on: its command, its files, and the results of the stages that it needs.

    Args:
        stage: the stage; its configs must exist.
        study: the study's folder.
        summaries: the summary file of each stage by name; files may be missing.
    """
    configs = [hash_file(resolve(each)) for each in stage.configs]
    needs = {name: hash_file(summaries[name]) if summaries[name].is_file() else None for name in stage.needs}
    return {
        "call": hash_json([words_of(stage, study), configs, stage.settings]),
        "needs": needs,
        "inputs": hashes_of_inputs(stage, study),
    }


def read_mark(stage: PlannedStage) -> dict[str, Any]:
    """Read the mark of the stage's last finished call; empty if there is none, or the summary was changed since."""
    try:
        mark = read_checked_json(stage.folder / MARK)
    except DataError:
        return {}
    if mark is None or not stage.summary.is_file() or hash_file(stage.summary) != mark["summary"]:
        return {}
    summary = read_json(stage.summary)
    return {} if isinstance(summary, dict) and summary.get("status") == "interrupted" else mark


def is_done(stage: PlannedStage, state: Mapping[str, Any]) -> bool:
    """Return whether the stage is done in this state.

    Raises:
        RunFolderError: it is a finished run, and its rows or weights were changed since.
    """
    mark = read_mark(stage)
    if mark.get("call") != state["call"]:
        return False
    before, now = ({**each["needs"], **each["inputs"]} for each in (mark, state))
    changed = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    if changed and stage.verb == "fit":
        raise RunFolderError(
            f"stage {stage.name} was done before {', '.join(changed)} changed",
            f"Remove {stage.folder} to run it again, or restore what changed",
        )
    return not changed


def run_stage_process(stage: PlannedStage, study: Path, state: Mapping[str, Any]) -> float:
    """Run a stage, whose settings must be written, and mark it done.

    Returns:
        Time in seconds.

    Raises:
        StageError: the stage failed; its output is on stderr.
    """
    words = words_of(stage, study)
    if stage.verb == "fit" and (stage.folder / "config.yaml").is_file():
        words.append("--resume")
    started = time.monotonic()
    code = _call([sys.executable, "-P", "-m", "grsap", *words])
    seconds = time.monotonic() - started
    if code or not stage.summary.is_file():
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise StageError(
            f"stage {stage.name} ended {how}",
            "Its output above names the cause. After correcting it, run the same command again: it resumes this stage",
            code,
        )
    mark = {"schema": SCHEMA, **state, "summary": hash_file(stage.summary), "seconds": round(seconds, 1)}
    write_checked_json(stage.folder / MARK, mark)
    return seconds


def write_settings(stage: PlannedStage, study: Path) -> None:
    """Write the settings that override a stage's configs, unless the file has them already."""
    path, text = settings_path(stage, study), dump_yaml(dict(stage.settings)).encode()
    if stage.settings and not (path.is_file() and path.read_bytes() == text):
        write_atomic(path, text)


def _call(command: list[str]) -> int:
    """Run a command and return its exit code. If the study is stopped, stop the command and wait for it."""
    die = partial(_die_with_parent, os.getpid()) if sys.platform == "linux" else None
    process = subprocess.Popen(command, preexec_fn=die)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this new process when the study is killed (Linux). Each verb can resume after that."""
    ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # the study was killed before the request
        os.kill(os.getpid(), signal.SIGKILL)
