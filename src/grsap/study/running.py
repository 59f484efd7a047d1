"""One stage as a process of its own: its memory goes with it, and it may start further processes on other devices."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grsap.embedded import resolve
from grsap.errors import RunFolderError, StageError
from grsap.files import hash_file, hash_json, write_atomic, write_json
from grsap.json_text import read_json
from grsap.study.plan import PlannedStage
from grsap.yaml_text import dump_yaml

MARK = ".study.json"
"""In a stage's folder: which call it was done by, and of what. Hidden, so that the verb does not mind it."""
SCHEMA = "grsap.study_stage/1"
_SETTINGS = ".settings"
_KILL_WITH_PARENT = 1


def words_of(stage: PlannedStage, study: Path) -> list[str]:
    """The words of the stage's command after `grsap`."""
    files = [*stage.configs, *([str(settings_path(stage, study))] if stage.settings else [])]
    output = "--run_dir" if stage.verb == "fit" else "--output_dir"
    words = [word for file in files for word in ("--config", file)]
    return [stage.verb, *words, output, str(stage.folder)]


def settings_path(stage: PlannedStage, study: Path) -> Path:
    """Where the settings that the study gives to a stage are written."""
    return study / _SETTINGS / f"{stage.name.replace('/', '--')}.yaml"


def stage_state(stage: PlannedStage, study: Path, summaries: Mapping[str, Path]) -> dict[str, Any]:
    """What a stage's results depend on: its command, its files, and the results of the stages that it needs.

    Args:
        stage: all files that it names exist.
        study: the study's folder.
        summaries: the summary of each stage by name; a missing one counts as none.
    """
    configs = [hash_file(resolve(each)) for each in stage.configs]
    needs = {name: hash_file(summaries[name]) if summaries[name].is_file() else None for name in stage.needs}
    return {"call": hash_json([words_of(stage, study), configs, stage.settings]), "needs": needs}


def read_mark(stage: PlannedStage) -> dict[str, Any]:
    """What is noted of the stage's last whole call; empty if there was none, or its summary is gone."""
    try:
        mark = read_json(stage.folder / MARK)
        summary = read_json(stage.summary)
    except (OSError, ValueError):
        return {}
    is_whole = not isinstance(summary, dict) or summary.get("status") != "interrupted"
    return mark if isinstance(mark, dict) and is_whole else {}


def is_done(stage: PlannedStage, state: Mapping[str, Any]) -> bool:
    """Whether the stage's results are there, and are those of this state.

    Raises:
        RunFolderError: it is a finished run of other replay rows than those that there are now.
    """
    mark = read_mark(stage)
    if mark.get("call") != state["call"]:
        return False
    if mark.get("needs") == state["needs"]:
        return True
    if stage.verb == "fit":
        changed = sorted(name for name, was in mark.get("needs", {}).items() if state["needs"].get(name) != was)
        raise RunFolderError(
            f"stage {stage.name} was done before its stage {', '.join(changed)} changed",
            f"Remove {stage.folder} to do it again",
        )
    return False


def run_stage_process(stage: PlannedStage, study: Path, state: Mapping[str, Any]) -> float:
    """Run a stage to its end, and mark it done.

    Returns:
        Seconds.

    Raises:
        StageError: it did not come to its end; what it said stands on stderr.
    """
    if stage.settings:
        write_atomic(settings_path(stage, study), dump_yaml(dict(stage.settings)))
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
            "What it did is kept: the same command goes on with it once the cause, told above, is mended",
            code,
        )
    write_json(stage.folder / MARK, {"schema": SCHEMA, **state, "seconds": round(seconds, 1)})
    return seconds


def _call(command: list[str]) -> int:
    """Run a command and return its exit code; one whose study is stopped is stopped too, and waited for."""
    process = subprocess.Popen(command, preexec_fn=_die_with_parent if sys.platform == "linux" else None)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _die_with_parent() -> None:
    """In a new process on Linux: ask to be killed when the study is. Each verb goes on after that as after any kill."""
    ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
