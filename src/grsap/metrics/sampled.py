"""Rates and changes with several samples per prompt. Samples of one prompt are correlated: prompts are clusters.

Shapes: n prompts, k samples of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grsap.metrics.intervals import bootstrap_interval, tango_interval, wilson_interval
from grsap.metrics.paired import PairedChange, paired_change, sign_flip_p_value

Outcome = bool | float | None
"""A verdict (None: unparsed), or a score in [0, 1]."""

Samples = Mapping[str, Sequence[Outcome]]
"""Outcomes by prompt id, one per sample; equally many per prompt."""

NUM_RESAMPLES = 2000
_BLOCK = 50  # resamples in memory at once


@dataclass(frozen=True)
class SampledRate:
    """A share, or a mean score, with its 95 % interval.

    Attributes:
        value: mean over parsed samples, in [0, 1]; None if there is none.
        low, high: the interval. Unparsed samples widen it: `low` takes them all as False, `high` as True.
        min_value, max_value: the mean if all unparsed samples are False, and if all are True; None without a sample.
        num_prompts: prompts counted.
        num_samples: samples counted, unparsed ones included.
        num_true: samples that are True; None for scores in between.
        num_unparsed: samples without a verdict.
    """

    value: float | None
    low: float
    high: float
    min_value: float | None
    max_value: float | None
    num_prompts: int
    num_samples: int
    num_true: int | None
    num_unparsed: int


def sampled_rate(samples: Samples) -> SampledRate:
    """The rate over all samples, with an interval for clustered data.

    With one sample per prompt it is Wilson's interval. With more it is Wilson's interval at the effective number of
    trials p(1-p) / v, where v is the variance of the mean between prompts (Kish's design effect; Dean and Pagano 2015,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys"), kept within [n, n k], and n
    where p is 0 or 1. Scores in between get a seeded bootstrap over prompts.
    """
    flat = [value for values in samples.values() for value in values]
    parsed = [float(value) for value in flat if value is not None]
    is_binary = all(value in (0, 1) for value in parsed)
    filled = {missing: _filled(samples, missing) for missing in (0.0, 1.0)} if flat else {}
    return SampledRate(
        value=sum(parsed) / len(parsed) if parsed else None,
        low=_interval(filled[0.0], is_binary)[0] if flat else 0.0,
        high=_interval(filled[1.0], is_binary)[1] if flat else 1.0,
        min_value=float(filled[0.0].mean()) if flat else None,
        max_value=float(filled[1.0].mean()) if flat else None,
        num_prompts=len(samples),
        num_samples=len(flat),
        num_true=int(sum(parsed)) if is_binary else None,
        num_unparsed=len(flat) - len(parsed),
    )


def any_of(samples: Samples) -> dict[str, list[Outcome]]:
    """Whether any sample of each prompt is True; None if a missing one could decide it."""
    return {
        prompt: [True if any(value is True for value in values) else None if None in values else False]
        for prompt, values in samples.items()
    }


def sampled_change(before: Samples, after: Samples, *, higher_is_better: bool = False) -> PairedChange:
    """After minus before, prompt by prompt, over the prompts that both have.

    With one sample per prompt it is `paired_change`: exact McNemar and Tango's interval. With more, the interval is
    a seeded percentile bootstrap in two levels, over prompts and over the samples of each, and the p-value that of
    `sign_flip_p_value` over prompts. Where no prompt changed, a bootstrap interval would have no width:
    Tango's over the prompts replaces it.

    Args:
        before: outcomes by prompt id; missing ones widen the interval both ways.
        after: the same, of the other subject.
        higher_is_better: which change counts as better.
    """
    ids = [prompt for prompt in before if prompt in after]
    if all(len(before[prompt]) == len(after[prompt]) == 1 for prompt in ids):
        return paired_change(
            {prompt: before[prompt][0] for prompt in ids},
            {prompt: after[prompt][0] for prompt in ids},
            higher_is_better=higher_is_better,
        )
    means = [(_mean(before[prompt]), _mean(after[prompt])) for prompt in ids]
    steps = [a - b for b, a in means if b is not None and a is not None]
    num_rose, num_fell = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    common = {name: {prompt: each[prompt] for prompt in ids} for name, each in (("b", before), ("a", after))}
    low = _bootstrap_change(_filled(common["b"], 1.0), _filled(common["a"], 0.0))[0]
    high = _bootstrap_change(_filled(common["b"], 0.0), _filled(common["a"], 1.0))[1]
    return PairedChange(
        difference=sum(steps) / len(steps) if steps else None,
        low=low,
        high=high,
        num_pairs=len(ids),
        num_worse=num_fell if higher_is_better else num_rose,
        num_better=num_rose if higher_is_better else num_fell,
        p_value=sign_flip_p_value(steps),
        num_unparsed=sum(None in (*before[prompt], *after[prompt]) for prompt in ids),
    )


def _mean(values: Sequence[Outcome]) -> float | None:
    parsed = [float(value) for value in values if value is not None]
    return sum(parsed) / len(parsed) if parsed else None


def _filled(samples: Samples, missing: float) -> np.ndarray:
    """(n, k) outcomes with `missing` in the place of None."""
    return np.array(
        [[missing if value is None else float(value) for value in values] for values in samples.values()], np.float64
    )


def _interval(values: np.ndarray, is_binary: bool) -> tuple[float, float]:
    """Of the mean of (n, k) outcomes."""
    num, num_each = values.shape
    if not is_binary:
        return bootstrap_interval(values.mean(axis=1).tolist())
    mean = float(values.mean())
    if num_each == 1:
        return wilson_interval(int(values.sum()), num)
    effective = float(num)
    if 0 < mean < 1 and num > 1:
        variance = float(values.mean(axis=1).var(ddof=1)) / num
        effective = min(max(mean * (1 - mean) / variance, num), num * num_each) if variance else num * num_each
    return wilson_interval(mean * effective, effective)


def _bootstrap_change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Of the mean difference of (n, k) and (n, m) outcomes."""
    num = len(before)
    if not num or (before.mean(axis=1) == after.mean(axis=1)).all():
        return tango_interval(0, 0, num)
    generator = np.random.default_rng(0)
    rows = np.arange(num)
    differences = []
    for _ in range(0, NUM_RESAMPLES, _BLOCK):
        prompts = generator.integers(0, num, size=(_BLOCK, num))
        means = []
        for values in (before, after):
            chosen = generator.integers(0, values.shape[1], size=(_BLOCK, num, values.shape[1]))
            means.append(values[rows[prompts][..., None], chosen].mean(axis=(1, 2)))
        differences.append(means[1] - means[0])
    low, high = np.quantile(np.concatenate(differences), [0.025, 0.975])
    return float(low), float(high)
