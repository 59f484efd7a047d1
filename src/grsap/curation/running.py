"""Runs a curation in its folder. Results that are on disk are not computed again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from grsap.checksums import read_checked_json, write_checked_json
from grsap.console import Console
from grsap.curation.curation import Curation
from grsap.curation.ledger import Ledger
from grsap.curation.manifest import TIMINGS, manifest_of, models_of, print_funnel
from grsap.curation.output import MANIFEST, REJECTED, REPLAY, write_rows
from grsap.curation.page import page_line
from grsap.curation.steps import names_of, run_steps
from grsap.curation.work import Work
from grsap.differences import setting_differences
from grsap.errors import DataError, RunFolderError
from grsap.files import hash_file, write_json

INPUT = "input.json"
RESULTS = "results"


def run_curation(settings: Curation, output_dir: Path) -> None:
    """Complete the curation of a folder, and print its counts.

    Raises:
        UserError: the input was changed, a file is damaged or cannot be written, or no row is kept.
    """
    started = time.monotonic()
    output_dir.mkdir(parents=True, exist_ok=True)
    _record_input(settings, output_dir)
    manifest = _finished(settings, output_dir)
    if manifest is None:
        manifest = _curate(settings, output_dir)
    print_funnel(manifest, output_dir, time.monotonic() - started)
    Console().print_line(page_line(output_dir, manifest))
    if not manifest["counts"]["num_replay"]:
        reasons = sorted(manifest["counts"]["rejected_by_reason"], key=lambda entry: -entry["num"])
        most = ", ".join(f"{entry['reason']} {entry['num']}" for entry in reasons[:3])
        raise DataError(f"no row is kept ({most})", f"Read {REJECTED} and loosen a filter", path=output_dir / REPLAY)


def _curate(settings: Curation, folder: Path) -> dict[str, Any]:
    ledger = Ledger(settings.raw)
    if not (folder / RESULTS).exists():  # a later call may need no server for the rest of the work
        for each in settings.filters:
            each.check_ready()
        if settings.judge is not None:
            settings.judge.check_ready()
    work = Work(
        folder / RESULTS, settings.raw, settings.embedder, settings.judge, settings.judge_batch_size, settings.seed
    )
    try:
        steps = run_steps(settings.filters, ledger, work)
    finally:
        if settings.judge is not None:
            settings.judge.close()
    settings.raw.check_unchanged()
    files = write_rows(folder, ledger, names_of(settings.filters))
    manifest = manifest_of(settings, ledger, work, steps, files)
    write_json(folder / TIMINGS, {"seconds_of_last_call": {step.name: round(step.seconds, 1) for step in steps}})
    write_checked_json(folder / MANIFEST, manifest)
    return manifest


def _finished(settings: Curation, folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a finished folder whose files match it, else None.

    Raises:
        RunFolderError: it was curated with another model, or another file of the same name.
    """
    try:
        manifest = read_checked_json(folder / MANIFEST)
        if manifest is None:
            return None
        same = manifest["input"]["hash"] == settings.raw.hash and all(
            hash_file(folder / name) == entry["hash"] for name, entry in manifest["files"].items()
        )
        before = {"models": manifest["models"], "filters": [step["settings"] for step in manifest["steps"]]}
    except (OSError, DataError, KeyError, TypeError):
        return None
    now = {"models": models_of(settings), "filters": [each.settings() for each in settings.filters]}
    differences = setting_differences(before, json.loads(json.dumps(now)))
    if differences:
        raise RunFolderError(
            f"{folder} was curated with other models or files: {'; '.join(differences[:3])}",
            "Restore them, or choose another folder with --output_dir",
        )
    return manifest if same else None


def _record_input(settings: Curation, folder: Path) -> None:
    """Write the hashes of the input, or compare them with those of an earlier call."""
    found: dict[str, Any] = {"hash": settings.raw.hash, "files": settings.raw.files}
    path = folder / INPUT
    before = read_checked_json(path)
    if before is None:
        write_checked_json(path, found)
        return
    names = {**before["files"], **found["files"]}
    changed = [name for name in names if before["files"].get(name) != found["files"].get(name)]
    if changed:
        raise RunFolderError(
            f"input {settings.input} was changed since {folder} was begun: {', '.join(sorted(changed)[:5])}",
            "Restore it to continue, or choose another folder with --output_dir",
        )
