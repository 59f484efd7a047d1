"""Rates and paired changes with confidence intervals and tests."""

from grsap.metrics.coherence import is_incoherent, is_repetitive, leaves_language, why_no_answer
from grsap.metrics.collapse import collapsed
from grsap.metrics.intervals import (
    independent_mean_interval,
    mean_interval,
    seed_interval,
    share_interval,
    tango_interval,
    unbounded_mean_interval,
)
from grsap.metrics.multiplicity import holm
from grsap.metrics.paired import PairedChange, Retention, paired_change, retention
from grsap.metrics.power import smallest_detectable_difference
from grsap.metrics.rates import Rate, RateEstimate, mean_estimate, pair_outcomes, rate_estimate
from grsap.metrics.sampled import SampledRate, any_of, sampled_change, sampled_rate
from grsap.metrics.sequential import FiniteShare

__all__ = [
    "FiniteShare",
    "PairedChange",
    "Rate",
    "RateEstimate",
    "Retention",
    "SampledRate",
    "any_of",
    "collapsed",
    "holm",
    "independent_mean_interval",
    "is_incoherent",
    "is_repetitive",
    "leaves_language",
    "mean_estimate",
    "mean_interval",
    "pair_outcomes",
    "paired_change",
    "rate_estimate",
    "retention",
    "sampled_change",
    "sampled_rate",
    "seed_interval",
    "share_interval",
    "smallest_detectable_difference",
    "tango_interval",
    "unbounded_mean_interval",
    "why_no_answer",
]
