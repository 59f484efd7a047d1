"""Training: the LightningModule, learning-rate schedules, the run folder and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grsap.lazy_names import lazy_names

if TYPE_CHECKING:
    from grsap.training.metrics_log import MetricsLog
    from grsap.training.module import SafetyFineTuning
    from grsap.training.schedules import ConstantRate, CosineWithFloor, LearningRateSchedule
    from grsap.training.step_settings import StepSettings

__all__ = ["ConstantRate", "CosineWithFloor", "LearningRateSchedule", "MetricsLog", "SafetyFineTuning", "StepSettings"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConstantRate": "schedules",
        "CosineWithFloor": "schedules",
        "LearningRateSchedule": "schedules",
        "MetricsLog": "metrics_log",
        "SafetyFineTuning": "module",
        "StepSettings": "step_settings",
    },
)
