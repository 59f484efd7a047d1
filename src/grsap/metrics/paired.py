"""The change of a rate between two checks of the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from grsap.errors import ConfigError
from grsap.metrics.intervals import mean_interval, tango_interval

Retention = Literal["held", "lost", "undecided"]
Pair = tuple[float | bool | None, float | bool | None]
_MAX_PLACES = 50_000

SIGNIFICANT = 0.05
"""The largest p-value of a loss, of a gain and of a best subject."""

MAX_RATIO = 2.0
"""Default bound: a rate may at most double, plus `RATIO_FLOOR`."""

RATIO_FLOOR = 0.02
"""The value that a rate of zero may rise to, as a share."""

MIN_PAIRS = 20
"""With fewer pairs only a significant improvement is held: Tango's test errs too often there, unlike the exact one."""


@dataclass(frozen=True)
class PairedChange:
    """Change of a rate, after minus before, over the prompts of both checks.

    Attributes:
        difference: change of the share, in [-1, 1], over pairs with both verdicts; None if there is no such pair.
        low, high: 95 % interval. A missing verdict widens it: `low` assumes the largest possible decrease, `high` the
            largest possible increase.
        num_pairs: prompts in both, unparsed ones included.
        num_worse, num_better: pairs that changed for the worse, and for the better.
        p_value: `sign_flip_p_value` over pairs with both verdicts; of verdicts it is the exact McNemar test.
        num_unparsed: pairs with a missing verdict.
        ratio_excess: upper end of after - max_ratio x before for the rate of the bad outcome; None if not tested. A
            missing verdict increases it.
    """

    difference: float | None
    low: float
    high: float
    num_pairs: int
    num_worse: int
    num_better: int
    p_value: float
    num_unparsed: int = 0
    ratio_excess: float | None = None


def paired_change(
    before: Mapping[str, float | bool | None],
    after: Mapping[str, float | bool | None],
    *,
    higher_is_better: bool = False,
    max_ratio: float | None = None,
) -> PairedChange:
    """Compare two checks prompt by prompt.

    Verdicts (True, False, None, or scores of 0 and 1) get Tango's interval. Scores in between get `mean_interval`
    of the differences, with missing scores imputed at either extreme.

    Args:
        before: outcome by prompt id; ids in only one of both are ignored.
        after: the same, later.
        higher_is_better: the direction of the rate; False for harmfulness and over-refusal.
        max_ratio: see `PairedChange.ratio_excess`; None to skip that test.
    """
    ids = [id_ for id_ in before if id_ in after]
    pairs = [(before[id_], after[id_]) for id_ in ids]
    parsed = [(float(b), float(a)) for b, a in pairs if b is not None and a is not None]
    num_rose, num_fell = sum(a > b for b, a in parsed), sum(a < b for b, a in parsed)
    if all(value in (None, 0, 1) for pair in pairs for value in pair):
        low, high = _verdict_interval(pairs)
    else:
        low = mean_interval([a - b for b, a in _filled(pairs, 1, 0)], -1.0)[0]
        high = mean_interval([a - b for b, a in _filled(pairs, 0, 1)], -1.0)[1]
    return PairedChange(
        difference=sum(a - b for b, a in parsed) / len(parsed) if parsed else None,
        low=low,
        high=high,
        num_pairs=len(pairs),
        num_worse=num_fell if higher_is_better else num_rose,
        num_better=num_rose if higher_is_better else num_fell,
        p_value=sign_flip_p_value([a - b for b, a in parsed]),
        num_unparsed=len(pairs) - len(parsed),
        ratio_excess=None if max_ratio is None else _pair_excess(pairs, max_ratio, higher_is_better),
    )


def check_max_ratio(max_ratio: float | None, name: str) -> None:
    """Raise ConfigError if `max_ratio` is outside [1, 100]; `name` is that of the setting."""
    if max_ratio is not None and not 1 <= max_ratio <= 100:
        raise ConfigError(f"{name} is {max_ratio}", "Give a number from 1 to 100, such as 2, or null")


def ratio_excess(before: np.ndarray, after: np.ndarray, max_ratio: float) -> float:
    """Return the upper confidence bound, at 97.5 %, on the mean of after - max_ratio x before.

    Args:
        before: (n,) shares of the bad outcome, in [0, 1].
        after: (n,) the same, later.
        max_ratio: at least 1.
    """
    return mean_interval(after - max_ratio * before, -max_ratio, 1.0)[1]


def _pair_excess(pairs: Sequence[Pair], max_ratio: float, higher_is_better: bool) -> float:
    worst = _filled(pairs, 1, 0) if higher_is_better else _filled(pairs, 0, 1)
    before, after = np.array(worst, np.float64).reshape(-1, 2).T
    if higher_is_better:
        before, after = 1 - before, 1 - after
    return ratio_excess(before, after, max_ratio)


def sign_flip_p_value(changes: Sequence[float]) -> float:
    """Return the two-sided p-value of the sum of changes under random signs (Fisher 1935, ch. 3).

    This is the randomization test of paired data over all 2^n signs: the sign test for changes of one size, and the
    exact McNemar test for verdicts. It is exact if all sizes are multiples of 1/m for some m up to 60, such as means
    over few samples; other sizes are rounded to a grid of 50,000 sums.

    Args:
        changes: (n,) one per prompt, in [-1, 1].
    """
    moved = np.array([change for change in changes if change], np.float64)
    if not len(moved):
        return 1.0
    fine = max(1, _MAX_PLACES // len(moved))
    unit = next((unit for unit in range(1, 61) if np.abs(moved * unit - np.rint(moved * unit)).max() < 1e-9), fine)
    steps = np.rint(moved * unit).astype(int)
    sizes = np.abs(steps)
    if len(set(sizes.tolist())) == 1:
        return float(binomtest(int((steps > 0).sum()), len(steps), 0.5).pvalue)
    chances = np.ones(1)  # probability of each sum, in ascending order
    for size in sizes.tolist():
        longer = np.zeros(len(chances) + 2 * size)
        longer[: len(chances)] += chances / 2
        longer[2 * size :] += chances / 2
        chances = longer
    sums = np.arange(len(chances)) - sizes.sum()
    return min(1.0, float(chances[np.abs(sums) >= abs(int(steps.sum()))].sum()))


def _filled(pairs: Sequence[Pair], missing_before: float, missing_after: float) -> list[tuple[float, float]]:
    """Return the pairs with missing outcomes imputed."""
    return [(missing_before if b is None else float(b), missing_after if a is None else float(a)) for b, a in pairs]


def _verdict_interval(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return Tango's interval, widened by missing verdicts: low if all of them decrease, high if all increase."""
    bounds: list[tuple[float, float]] = []
    for filled in (_filled(pairs, 1, 0), _filled(pairs, 0, 1)):
        num_rose, num_fell = sum(a > b for b, a in filled), sum(a < b for b, a in filled)
        bounds.append(tango_interval(num_rose, num_fell, len(filled)))
    return bounds[0][0], bounds[1][1]


def retention(change: PairedChange, margin: float, *, higher_is_better: bool = False) -> Retention:
    """Decide by a non-inferiority test whether a rate was held.

    For verdicts the interval is that of Tango's score test: a rate that got worse by the margin is called held in at
    most 3 % of cases. Near zero a rate may grow many times within a margin in points, so the ratio is bounded too.

    Args:
        change: of the rate.
        margin: acceptable change for the worse, in [0, 1].
        higher_is_better: the direction of the rate.

    Returns:
        "held" if the whole interval is within the margin and, where a prompt may have got worse, `ratio_excess` is at
        most `RATIO_FLOOR`; fewer than `MIN_PAIRS` pairs must have become better significantly. "lost" if the interval
        is entirely on the worse side of 0 and the p-value is at most `SIGNIFICANT`; otherwise "undecided". A
        significant change within the margin is "held".
    """
    near, far = (-change.high, -change.low) if higher_is_better else (change.low, change.high)
    is_significant = change.p_value <= SIGNIFICANT
    # If no prompt got worse the margin alone decides: ruling out a rise from zero by the ratio needs 183 prompts.
    may_have_grown = change.num_worse + change.num_unparsed > 0
    is_in_ratio = change.ratio_excess is None or change.ratio_excess <= RATIO_FLOOR or not may_have_grown
    if far <= margin and is_in_ratio and (change.num_pairs >= MIN_PAIRS or (far < 0 and is_significant)):
        return "held"
    return "lost" if near > 0 and is_significant else "undecided"
