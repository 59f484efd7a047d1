"""Task rows, the replay set, and their mixture into optimizer steps."""

from grsap.data.batching import Batching
from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.dates import DatesTask
from grsap.data.extraction import ExtractionTask
from grsap.data.hub_task import HubTask
from grsap.data.jsonl_task import JSONLTask
from grsap.data.mixture import MixtureDataModule
from grsap.data.plan import Schedule
from grsap.data.replay import ReplayDataModule
from grsap.data.samplers import ProportionalSampler, RatioSampler, Sampler, StratifiedReplaySampler
from grsap.data.step import StepBatch
from grsap.data.steps_task import StepsTask

__all__ = [
    "Batching",
    "ConversationDataModule",
    "DatesTask",
    "ExtractionTask",
    "HubTask",
    "JSONLTask",
    "MixtureDataModule",
    "ProportionalSampler",
    "RatioSampler",
    "ReplayDataModule",
    "Row",
    "Sampler",
    "Schedule",
    "StepBatch",
    "StepsTask",
    "StratifiedReplaySampler",
]
