"""Rates with intervals, and changes between two checks."""

from grsap.metrics.coherence import is_incoherent
from grsap.metrics.intervals import bootstrap_interval, newcombe_interval, wilson_interval
from grsap.metrics.paired import PairedChange, Retention, paired_change, retention
from grsap.metrics.rates import Rate, RateEstimate, mean_estimate, pair_outcomes, rate_estimate
from grsap.metrics.sequential import FiniteShare

__all__ = [
    "FiniteShare",
    "PairedChange",
    "Rate",
    "RateEstimate",
    "Retention",
    "bootstrap_interval",
    "is_incoherent",
    "mean_estimate",
    "newcombe_interval",
    "pair_outcomes",
    "paired_change",
    "rate_estimate",
    "retention",
    "wilson_interval",
]
