"""Training: the LightningModule, learning-rate schedules and the metrics log."""

from grsap.training.metrics_log import MetricsLog
from grsap.training.module import SafetyFineTuning
from grsap.training.schedules import ConstantRate, CosineWithFloor, LearningRateSchedule
from grsap.training.step_settings import StepSettings

__all__ = ["ConstantRate", "CosineWithFloor", "LearningRateSchedule", "MetricsLog", "SafetyFineTuning", "StepSettings"]
