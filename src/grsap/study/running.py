"""Runs the missing stages of a study, and reports its figures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from grsap import __version__
from grsap.console import Console, say
from grsap.errors import StageError
from grsap.files import write_json
from grsap.progress import duration
from grsap.study.estimate import Estimator
from grsap.study.plan import PlannedStage
from grsap.study.stage_process import is_done, read_mark, run_stage_process, stage_state, write_settings
from grsap.study.study import Study
from grsap.study.tables import figures_table, plan_table

SCHEMA = "grsap.study/1"
RESULTS = "study.json"
PAGE = "report.html"


def run_study(settings: Study, output_dir: Path) -> None:
    """Run the missing stages, then write and print the figures, and write the page.

    Raises:
        StageError: a stage failed, or the page was not written.
        RunFolderError: the inputs of a finished run were changed.
    """
    stages = settings.planned(output_dir)
    summaries = {stage.name: stage.summary for stage in stages}
    num_run = 0
    for number, stage in enumerate(stages, 1):
        state = stage_state(stage, output_dir, summaries)
        write_settings(stage, output_dir)
        if is_done(stage, state):
            continue
        say(f"[{number}/{len(stages)}] {stage.name}: grsap {stage.verb}")
        seconds = run_stage_process(stage, output_dir, state)
        say(f"[{number}/{len(stages)}] {stage.name}: done in {duration(seconds)}")
        num_run += 1
    say(f"{len(stages)} stages are done: {num_run} now, {len(stages) - num_run} before.")
    _report(settings, stages, summaries, output_dir)


def show_plan(settings: Study, output_dir: Path) -> None:
    """Print the stages with tokens, hours and memory. Nothing is run, fetched or written."""
    stages = settings.planned(output_dir)
    machine = settings.machine
    estimator = Estimator(machine)
    console = Console(soft_wrap=True)
    console.print(plan_table(stages, [estimator.of(stage) for stage in stages], _done(stages, output_dir)))
    console.print(
        f"\n{len(stages)} stages. Estimates are rules of thumb, for {machine.num_devices} device(s) with "
        f"{machine.train_tflops:g} TFLOP/s in training and {machine.generate_tokens_per_s:,.0f} tokens/s "
        "in generation; memory is per device: training state and activations, or weights in 16 bits."
    )
    console.print("Dry run: nothing was run, fetched or written.", style="bold")


def _done(stages: Sequence[PlannedStage], folder: Path) -> set[str]:
    """Return the names of the stages whose marks are of this call; inputs are not compared."""
    summaries = {stage.name: stage.summary for stage in stages}
    return {
        stage.name
        for stage in stages
        if (mark := read_mark(stage)) and mark.get("call") == stage_state(stage, folder, summaries)["call"]
    }


def _report(settings: Study, stages: Sequence[PlannedStage], summaries: Mapping[str, Path], folder: Path) -> None:
    """Write and print the figures, and write the page of the stages that `report` names."""
    found = [(figure, figure.measure(summaries)) for figure in settings.figures]
    results = {
        "schema": SCHEMA,
        "grsap_version": __version__,
        "told": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stages": [
            {"name": each.name, "verb": each.verb, "seconds": read_mark(each).get("seconds")} for each in stages
        ],
        "figures": [
            {"name": figure.name, "published": figure.published, "source": figure.source, **ours}
            for figure, ours in found
        ],
    }
    write_json(folder / RESULTS, results)
    if found:
        Console(soft_wrap=True).print(figures_table(found))
    shown = [str(each.folder) for each in stages if any(fnmatchcase(each.name, name) for name in settings.report)]
    if shown:
        words = ["report", *shown, "--output", str(folder / PAGE), "--title", folder.name, "--no_transcripts"]
        code = subprocess.run([sys.executable, "-P", "-m", "grsap", *words], check=False).returncode
        if code:
            raise StageError(
                f"the page {folder / PAGE} was not written: grsap report ended with exit code {code}",
                f"The stages are done and the figures are in {folder / RESULTS}. Run the same command to try again",
                code,
            )
