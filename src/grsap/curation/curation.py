"""From raw rows to a replay set: the settings, and the work."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grsap.checksums import read_checked_json, write_checked_json
from grsap.console import Console
from grsap.curation.base import Filter
from grsap.curation.harmlessness import HARMFUL, NOT_REFUSED, Harmlessness
from grsap.curation.ledger import Ledger
from grsap.curation.manifest import MANIFEST, TIMINGS, manifest_of, models_of, print_funnel
from grsap.curation.output import REJECTED, REPLAY, write_rows
from grsap.curation.page import page_line
from grsap.curation.raw_rows import RawRows
from grsap.curation.steps import names_of, run_steps
from grsap.curation.work import Work
from grsap.differences import setting_differences
from grsap.embedding import Embedder
from grsap.errors import ConfigError, DataError, RunFolderError
from grsap.files import hash_file, write_json
from grsap.json_text import read_json
from grsap.judging.base import Judge

INPUT = "input.json"
RESULTS = "results"


@dataclass(frozen=True)
class Curation:
    """Makes a replay set of raw safety rows, by filters in the order given.

    Args:
        input: folder of `.jsonl` shards, such as the `--output_dir` of `grsap synthesize`, or one `.jsonl` file.
        filters: each is given the rows that the ones before it left.
        embedder: for filters that compare meanings.
        judge: for filters that ask whether a response is harmful.
        judge_batch_size: exchanges that the judge is given at once; so many may be judged again after a kill.
        seed: of all that is random.
    """

    input: str
    filters: list[Filter]
    embedder: Embedder | None = None
    judge: Judge | None = None
    judge_batch_size: int = 64
    seed: int = 0

    @cached_property
    def raw(self) -> RawRows:
        """The rows of the input."""
        return RawRows(self.input)

    def check(self) -> None:
        """Find what is wrong with settings, filters and input; loads no weights.

        Raises:
            UserError: names the setting, or the file and line.
        """
        if not self.filters:
            raise ConfigError("filters is empty", "Give at least one, such as Completeness")
        if self.judge_batch_size < 1:
            raise ConfigError(f"judge_batch_size is {self.judge_batch_size}", "Give at least 1")
        for number, each in enumerate(self.filters):
            self._check_filter(each, f"filters[{number}] ({type(each).__name__})", self.filters[:number])
        if self.embedder is not None:
            self.embedder.check()
        if self.judge is not None:
            self.judge.prepare()
        self._check_source()

    def run(self, output_dir: Path) -> None:
        """Do what is missing in a folder, and print what came of it.

        Raises:
            UserError: the input is not what it was, a file is broken or cannot be written, or no row stays.
        """
        started = time.monotonic()
        output_dir.mkdir(parents=True, exist_ok=True)
        self._hold_input(output_dir)
        manifest = self._finished(output_dir)
        if manifest is None:
            manifest = self._curate(output_dir)
        print_funnel(manifest, output_dir, time.monotonic() - started)
        _say(page_line(output_dir, manifest))
        if not manifest["counts"]["num_replay"]:
            reasons = sorted(manifest["counts"]["rejected_by_reason"], key=lambda entry: -entry["num"])
            told = ", ".join(f"{entry['reason']} {entry['num']}" for entry in reasons[:3])
            raise DataError(f"no row stays ({told})", f"Read {REJECTED} and loosen a filter", path=output_dir / REPLAY)

    def _curate(self, folder: Path) -> dict[str, Any]:
        ledger = Ledger(self.raw)
        if not (folder / RESULTS).exists():  # a later call may need no server for what is left
            for each in self.filters:
                each.check_ready()
            if self.judge is not None:
                self.judge.check_ready()
        work = Work(folder / RESULTS, self.raw, self.embedder, self.judge, self.judge_batch_size, self.seed)
        try:
            steps = run_steps(self.filters, ledger, work)
        finally:
            if self.judge is not None:
                self.judge.close()
        self.raw.check_unchanged()
        files = write_rows(folder, ledger, names_of(self.filters))
        manifest = manifest_of(self, ledger, work, steps, files)
        write_json(folder / TIMINGS, {"seconds_of_last_call": {step.name: round(step.seconds, 1) for step in steps}})
        write_checked_json(folder / MANIFEST, manifest)
        return manifest

    def _finished(self, folder: Path) -> dict[str, Any] | None:
        """The manifest of a folder whose work is done and whose files are as it says.

        Raises:
            RunFolderError: it was done with another model or file of the same name.
        """
        try:
            manifest = read_checked_json(folder / MANIFEST)
            if manifest is None:
                return None
            same = manifest["input"]["hash"] == self.raw.hash and all(
                hash_file(folder / name) == entry["hash"] for name, entry in manifest["files"].items()
            )
            before = {"models": manifest["models"], "filters": [step["settings"] for step in manifest["steps"]]}
        except (OSError, DataError, KeyError, TypeError):
            return None
        now = {"models": models_of(self), "filters": [each.settings() for each in self.filters]}
        differences = setting_differences(before, json.loads(json.dumps(now)))
        if differences:
            raise RunFolderError(
                f"{folder} was curated with something else: {'; '.join(differences[:3])}",
                "Bring it back, or choose another folder with --output_dir",
            )
        return manifest if same else None

    def _hold_input(self, folder: Path) -> None:
        """Write down what the input is, or compare it with what an earlier call wrote."""
        found: dict[str, Any] = {"hash": self.raw.hash, "files": self.raw.files}
        path = folder / INPUT
        before = read_checked_json(path)
        if before is None:
            write_checked_json(path, found)
            return
        names = {**before["files"], **found["files"]}
        changed = [name for name in names if before["files"].get(name) != found["files"].get(name)]
        if changed:
            raise RunFolderError(
                f"input {self.input} is not what it was when {folder} was begun: {', '.join(sorted(changed)[:5])}",
                "Restore it to go on, or choose another folder with --output_dir",
            )

    def _check_filter(self, each: Filter, where: str, before: Sequence[Filter]) -> None:
        for name in sorted(each.needs):
            if getattr(self, name) is None:
                raise ConfigError(f"{where} needs {name}, which is not set", f"Set {name}, or leave the filter out")
        if each.takes_rejected & {HARMFUL, NOT_REFUSED} and not any(isinstance(one, Harmlessness) for one in before):
            raise ConfigError(f"{where} stands before any Harmlessness", "Put it behind, or leave it out")
        each.check(where)
        if self.judge is not None:
            each.check_judge(self.judge, where)

    def _check_source(self) -> None:
        """Compare the shards with the manifest that stands beside them, if there is one."""
        path = self.raw.path / MANIFEST
        try:
            listed = read_json(path).get("files") or {}
        except (OSError, ValueError, AttributeError):
            return
        for name, entry in listed.items():
            if name.endswith(".jsonl") and self.raw.files.get(name) != entry:
                raise DataError(
                    f"is not what {MANIFEST} beside it says",
                    "Restore it, or remove the manifest if you changed the rows",
                    path=self.raw.path / name,
                )


def _say(line: str) -> None:
    Console().print_line(line)
