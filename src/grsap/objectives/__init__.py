"""Objectives (terms of the loss) and balancers (their coefficients)."""

from grsap.objectives.base import Balancer, Objective, StepReport, TokenChunk
from grsap.objectives.cross_entropy import CrossEntropy
from grsap.objectives.fixed_weights import FixedWeights
from grsap.objectives.kl_to_base import KLToBase

__all__ = ["Balancer", "CrossEntropy", "FixedWeights", "KLToBase", "Objective", "StepReport", "TokenChunk"]
