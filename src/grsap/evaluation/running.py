"""Runs an evaluation in its folder: the stages that its settings name."""

from __future__ import annotations

from pathlib import Path

from grsap.evaluation.evaluation import Evaluation
from grsap.evaluation.stages import Stages
from grsap.evaluation.table import print_results


def run_evaluation(settings: Evaluation, output_dir: Path) -> None:
    """Do what is missing in a folder, and print what was found.

    Raises:
        UserError: the folder's files are broken or cannot be written, or an earlier stage is missing.
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
