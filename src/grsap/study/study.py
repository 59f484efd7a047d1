"""A study: stages that follow each other, what they cost, and figures from their results beside published ones."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from grsap import __version__
from grsap.console import Console
from grsap.errors import ConfigError, StageError
from grsap.files import write_json
from grsap.progress import duration
from grsap.study.estimate import Estimator
from grsap.study.figures import Figure
from grsap.study.filling import Filler
from grsap.study.machine import Machine
from grsap.study.plan import PlannedStage, StageSpec, plan_stages
from grsap.study.running import is_done, read_mark, run_stage_process, stage_state, write_settings
from grsap.study.tables import figures_table, plan_table

SCHEMA = "grsap.study/1"
RESULTS = "study.json"
PAGE = "report.html"
MACHINE = Machine()


@dataclass(frozen=True)
class Study:
    """Runs the stages that are missing, each by its verb and in a folder of its own, and tells figures of the results.

    Args:
        stages: see `StageSpec`. Words in braces are filled in: `{model}` by a choice, `{model.path}` by what belongs to
            it, `{folder}` by the study's folder.
        axes: what stages differ in: axis -> choices, in order. Stages of other axes are left out.
        choices: what belongs to a choice: axis -> choice -> name -> value.
        goals: stages to do, with all that they need; by default all.
        figures: numbers to tell at the end, beside published ones.
        report: patterns of the names of stages that the page at the end shows; by default no page.
        machine: for the estimates of `--dry-run`.
    """

    stages: list[StageSpec]
    axes: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    goals: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    machine: Machine = MACHINE

    def planned(self, folder: Path) -> list[PlannedStage]:
        """The stages to do, in order, for a study in this folder.

        Raises:
            ConfigError: stages, axes or choices do not fit together.
        """
        return plan_stages(self.stages, Filler(str(folder), self.axes, self.choices), self.goals)

    def check(self) -> None:
        """Find what is wrong with the study before its first stage is begun.

        Raises:
            ConfigError: stages, axes, choices or costs do not fit together.
        """
        if not self.stages:
            raise ConfigError("stages is empty", "Give at least one")
        folder = Path("runs/study")
        stages = self.planned(folder)
        names = [stage.name for stage in stages]
        known = plan_stages(self.stages, Filler(str(folder), self.axes, self.choices), ())
        for figure in self.figures:
            if not any(fnmatchcase(stage.name, figure.stages) for stage in known):
                raise ConfigError(
                    f"figure {figure.name}: no stage is called {figure.stages}",
                    f"Stages are {', '.join(stage.name for stage in known[:8])}",
                )
        for pattern in self.report:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(f"report: no stage is called {pattern}", f"Stages are {', '.join(names[:8])}")

    def show_plan(self, output_dir: Path) -> None:
        """Print stages with tokens, hours and memory; nothing is run or written, and nothing is fetched."""
        stages = self.planned(output_dir)
        estimator = Estimator(self.machine)
        console = Console(soft_wrap=True)
        console.print(plan_table(stages, [estimator.of(stage) for stage in stages], self._done(stages, output_dir)))
        console.print(
            f"\n{len(stages)} stages. Estimates are rules of thumb, for {self.machine.num_devices} device(s) of "
            f"{self.machine.train_tflops:g} TFLOP/s in training and {self.machine.generate_tokens_per_s:,.0f} tokens/s "
            "in generation; memory is of one device: training state and activations, or weights in 16 bits."
        )
        console.print("Dry run: nothing was run, fetched or written.", style="bold")

    def run(self, output_dir: Path) -> None:
        """Do what is missing, then write and print the figures, and the page.

        Raises:
            StageError: a stage did not come to its end, or the page was not written.
            RunFolderError: a run is of rows or weights that are no longer there.
        """
        stages = self.planned(output_dir)
        summaries = {stage.name: stage.summary for stage in stages}
        num_run = 0
        for number, stage in enumerate(stages, 1):
            state = stage_state(stage, output_dir, summaries)
            write_settings(stage, output_dir)
            if is_done(stage, state):
                continue
            _say(f"[{number}/{len(stages)}] {stage.name}: grsap {stage.verb}")
            seconds = run_stage_process(stage, output_dir, state)
            _say(f"[{number}/{len(stages)}] {stage.name}: done in {duration(seconds)}")
            num_run += 1
        _say(f"{len(stages)} stages are done: {num_run} now, {len(stages) - num_run} before.")
        self._tell(stages, output_dir)

    def _done(self, stages: Sequence[PlannedStage], folder: Path) -> set[str]:
        """Names of the stages that a call would not run again, as far as their own marks tell."""
        summaries = {stage.name: stage.summary for stage in stages}
        return {
            stage.name
            for stage in stages
            if (mark := read_mark(stage)) and mark.get("call") == stage_state(stage, folder, summaries)["call"]
        }

    def _tell(self, stages: Sequence[PlannedStage], folder: Path) -> None:
        summaries = {stage.name: stage.summary for stage in stages}
        found = [(figure, figure.measure(summaries)) for figure in self.figures]
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
        shown = [str(each.folder) for each in stages if any(fnmatchcase(each.name, name) for name in self.report)]
        if shown:
            words = ["report", *shown, "--output", str(folder / PAGE), "--title", folder.name, "--no_transcripts"]
            code = subprocess.run([sys.executable, "-P", "-m", "grsap", *words], check=False).returncode
            if code:
                raise StageError(
                    f"the page {folder / PAGE} was not written: grsap report ended with exit code {code}",
                    f"The stages are done and the figures are in {folder / RESULTS}; the same command tries again",
                    code,
                )


def _say(text: str) -> None:
    Console(stderr=True).print_line(text)
