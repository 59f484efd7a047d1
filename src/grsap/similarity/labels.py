"""Divergence between the labels of two sets, such as domains and behaviours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import entr

NUM_RESAMPLES = 1000

Counts = npt.NDArray[np.floating] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class LabelDivergence:
    """Jensen-Shannon divergence (Lin 1991) of the labels of two samples, in bits: 0 for equal shares, 1 for disjoint
    labels.

    Attributes:
        value: `plug_in` minus its bias, estimated by the bootstrap; at least 0.
        low, high: symmetric 95 % interval: the wider side of the bootstrap interval, around the value.
        plug_in: divergence of the observed shares. It is biased upwards, most for few rows and many labels.
        p_value: of `plug_in`, by a permutation test that draws both samples from one pool.
    """

    value: float
    low: float
    high: float
    plug_in: float
    p_value: float


def js_bits(p: Counts, q: Counts) -> npt.NDArray[np.float64]:
    """Return the Jensen-Shannon divergence (...) of (..., K) counts or shares, in bits, in [0, 1]."""
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    nats = entr((p + q) / 2).sum(axis=-1) - (entr(p).sum(axis=-1) + entr(q).sum(axis=-1)) / 2
    bits: npt.NDArray[np.float64] = np.clip(nats / np.log(2), 0.0, 1.0)
    return bits


def label_divergence(a: Sequence[str], b: Sequence[str], seed: int = 0) -> LabelDivergence:
    """Compare the labels of two samples.

    Args:
        a: labels of the rows of one set, at least one.
        b: labels of the rows of the other set, at least one.
        seed: seed of the resamples.
    """
    names = sorted(set(a) | set(b))
    counts_a, counts_b = (np.array([Counter(part)[name] for name in names]) for part in (a, b))
    random = np.random.default_rng(seed)
    plug_in = float(js_bits(counts_a, counts_b))
    again = js_bits(
        random.multinomial(len(a), counts_a / len(a), NUM_RESAMPLES),
        random.multinomial(len(b), counts_b / len(b), NUM_RESAMPLES),
    )
    mean = float(again.mean())
    below, above = mean - np.quantile(again, 0.025), np.quantile(again, 0.975) - mean
    value = max(2 * plug_in - mean, 0.0)
    pool = counts_a + counts_b
    dealt = random.multivariate_hypergeometric(pool, len(a), NUM_RESAMPLES)
    num_as_high = int((js_bits(dealt, pool - dealt) >= plug_in - 1e-12).sum())
    return LabelDivergence(
        value=value,
        low=max(2 * plug_in - mean - float(max(above, below)), 0.0),
        high=min(value + float(max(above, below)), 1.0),
        plug_in=plug_in,
        p_value=(1 + num_as_high) / (1 + NUM_RESAMPLES),
    )


def effective_number(counts: Mapping[str, int]) -> float:
    """Return exp of the labels' entropy: the number of equally frequent labels with that entropy; 0 if empty."""
    total = sum(counts.values())
    return float(np.exp(entr(np.array(list(counts.values())) / total).sum())) if total else 0.0
