"""Rates and changes with several samples per prompt. Samples of one prompt are correlated: prompts are clusters.

Shapes: n prompts, k samples of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grsap.metrics.intervals import mean_interval
from grsap.metrics.paired import PairedChange, paired_change, ratio_excess, sign_flip_p_value

Outcome = bool | float | None
"""A verdict, or a score in [0, 1]; None is unparsed."""

Samples = Mapping[str, Sequence[Outcome]]
"""Outcomes by prompt id, one per sample, with k samples for every prompt."""


@dataclass(frozen=True)
class SampledRate:
    """A share, or a mean score, with its 95 % interval.

    Attributes:
        value: mean over parsed samples, in [0, 1]; None without any.
        low, high: the interval. Unparsed samples widen it: `low` takes them all as False, `high` as True.
        min_value, max_value: the mean with all unparsed samples as False, and as True; None without samples.
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
    """Compute the rate over all samples, with an interval for clustered data.

    The interval is `mean_interval` of the prompts' means, which is valid for any correlation of the samples of a
    prompt; with one verdict per prompt it is `share_interval`.
    """
    flat = [value for values in samples.values() for value in values]
    parsed = [float(value) for value in flat if value is not None]
    is_binary = all(value in (0, 1) for value in parsed)
    filled = {missing: _filled(samples, missing) for missing in (0.0, 1.0)} if flat else {}
    return SampledRate(
        value=sum(parsed) / len(parsed) if parsed else None,
        low=mean_interval(filled[0.0].mean(axis=1))[0] if flat else 0.0,
        high=mean_interval(filled[1.0].mean(axis=1))[1] if flat else 1.0,
        min_value=float(filled[0.0].mean()) if flat else None,
        max_value=float(filled[1.0].mean()) if flat else None,
        num_prompts=len(samples),
        num_samples=len(flat),
        num_true=int(sum(parsed)) if is_binary else None,
        num_unparsed=len(flat) - len(parsed),
    )


def any_of(samples: Samples) -> dict[str, list[Outcome]]:
    """Return by prompt whether any sample is True; None if a missing one could decide."""
    return {
        prompt: [True if any(value is True for value in values) else None if None in values else False]
        for prompt, values in samples.items()
    }


def sampled_change(
    before: Samples, after: Samples, *, higher_is_better: bool = False, max_ratio: float | None = None
) -> PairedChange:
    """Compute the paired change, after minus before, over the prompts of both.

    With one sample per prompt it is `paired_change`. With more, the interval is `mean_interval` of the changes of the
    prompts' means, and the p-value that of `sign_flip_p_value` over prompts.

    Args:
        before: outcomes by prompt id; missing ones widen the interval at both ends.
        after: the same, of the other model.
        higher_is_better: the direction of the rate.
        max_ratio: see `PairedChange.ratio_excess`; None to skip that test.
    """
    ids = [prompt for prompt in before if prompt in after]
    if all(len(before[prompt]) == len(after[prompt]) == 1 for prompt in ids):
        return paired_change(
            {prompt: before[prompt][0] for prompt in ids},
            {prompt: after[prompt][0] for prompt in ids},
            higher_is_better=higher_is_better,
            max_ratio=max_ratio,
        )
    means = [(_mean(before[prompt]), _mean(after[prompt])) for prompt in ids]
    steps = [a - b for b, a in means if b is not None and a is not None]
    num_rose, num_fell = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    common = {name: {prompt: each[prompt] for prompt in ids} for name, each in (("b", before), ("a", after))}
    fallen = _filled(common["b"], 1.0).mean(axis=1), _filled(common["a"], 0.0).mean(axis=1)
    risen = _filled(common["b"], 0.0).mean(axis=1), _filled(common["a"], 1.0).mean(axis=1)
    excess = None
    if max_ratio is not None:
        before_bad, after_bad = (1 - each for each in fallen) if higher_is_better else risen
        excess = ratio_excess(before_bad, after_bad, max_ratio)
    return PairedChange(
        difference=sum(steps) / len(steps) if steps else None,
        low=mean_interval(fallen[1] - fallen[0], -1.0)[0],
        high=mean_interval(risen[1] - risen[0], -1.0)[1],
        num_pairs=len(ids),
        num_worse=num_fell if higher_is_better else num_rose,
        num_better=num_rose if higher_is_better else num_fell,
        p_value=sign_flip_p_value(steps),
        num_unparsed=sum(None in (*before[prompt], *after[prompt]) for prompt in ids),
        ratio_excess=excess,
    )


def _mean(values: Sequence[Outcome]) -> float | None:
    parsed = [float(value) for value in values if value is not None]
    return sum(parsed) / len(parsed) if parsed else None


def _filled(samples: Samples, missing: float) -> np.ndarray:
    """Return (n, k) outcomes with `missing` in place of None."""
    return np.array(
        [[missing if value is None else float(value) for value in values] for values in samples.values()], np.float64
    )
