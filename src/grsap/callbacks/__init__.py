"""Callbacks: what watches a run, keeps its files and ends it well.

The names are imported when they are asked for: the summary of a finished run is printed without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grsap.lazy_names import lazy_names

if TYPE_CHECKING:
    from grsap.callbacks.adapter_checkpoint import AdapterCheckpoint
    from grsap.callbacks.harmfulness_check import HarmfulnessCheck
    from grsap.callbacks.mixture_monitor import MixtureMonitor
    from grsap.callbacks.phases import phase
    from grsap.callbacks.progress import ProgressReport
    from grsap.callbacks.provenance import Provenance
    from grsap.callbacks.run_summary import RunSummary
    from grsap.callbacks.sequential_check import SequentialHarmfulnessCheck
    from grsap.callbacks.stop_signal import GracefulStop
    from grsap.callbacks.summary_table import load_and_print
    from grsap.callbacks.task_score_check import TaskScoreCheck

__all__ = [
    "AdapterCheckpoint",
    "GracefulStop",
    "HarmfulnessCheck",
    "MixtureMonitor",
    "ProgressReport",
    "Provenance",
    "RunSummary",
    "SequentialHarmfulnessCheck",
    "TaskScoreCheck",
    "load_and_print",
    "phase",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AdapterCheckpoint": "adapter_checkpoint",
        "GracefulStop": "stop_signal",
        "HarmfulnessCheck": "harmfulness_check",
        "MixtureMonitor": "mixture_monitor",
        "ProgressReport": "progress",
        "Provenance": "provenance",
        "RunSummary": "run_summary",
        "SequentialHarmfulnessCheck": "sequential_check",
        "TaskScoreCheck": "task_score_check",
        "load_and_print": "summary_table",
        "phase": "phases",
    },
)
