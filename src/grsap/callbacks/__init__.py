"""Callbacks: checks during training, files of a run, progress and graceful stops."""

from grsap.callbacks.adapter_checkpoint import AdapterCheckpoint
from grsap.callbacks.harmfulness_check import HarmfulnessCheck
from grsap.callbacks.mixture_monitor import MixtureMonitor
from grsap.callbacks.phases import phase
from grsap.callbacks.progress import ProgressReport
from grsap.callbacks.provenance import Provenance
from grsap.callbacks.run_summary import RunSummary
from grsap.callbacks.sequential_check import SequentialHarmfulnessCheck
from grsap.callbacks.stop_signal import GracefulStop
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
    "phase",
]
