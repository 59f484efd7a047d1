"""Run the stages of an evaluation."""

from __future__ import annotations

from pathlib import Path

from grsap.evaluation.evaluation import Evaluation
from grsap.evaluation.stages import Stages
from grsap.evaluation.table import print_results


def run_evaluation(settings: Evaluation, output_dir: Path) -> None:
    """Compute what is missing in a folder, and print the results.

    Raises:
        UserError: the folder's files are damaged or cannot be written, or an earlier stage is missing.
    """
    stages = Stages(settings, output_dir)
    try:
        if "generate" in settings.stages:
            stages.generate()
        if "judge" in settings.stages:
            stages.judge()
        if "summarise" in settings.stages:
            print_results(stages.summarise(), output_dir)
    finally:
        stages.close()
