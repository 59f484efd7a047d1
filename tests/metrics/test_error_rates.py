"""Exact error rates of intervals and verdicts, by summing over all tables; `docs/statistics.md` quotes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from grsap.metrics import PairedChange, paired_change, retention, tango_interval

DIFFERENCES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.025, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7)


def shares_that_fell(difference: float) -> np.ndarray:
    """(m, 1) shares of prompts that turn better while the rate rises by `difference`: from none to all that can."""
    most = (1 - difference) / 2
    near_zero = np.geomspace(3e-4, 0.02, 8)
    return np.unique(np.concatenate([np.linspace(0, most, 25), near_zero[near_zero < most], [most - 0.01]]))[:, None]


def error_above(num: int, difference: float, most_rises: np.ndarray) -> np.ndarray:
    """(m,) chance of at most `most_rises[f]` rises beside f falls, for each share that fell."""
    falls, fell = np.arange(num + 1), shares_that_fell(difference)
    rises = binom.cdf(most_rises, num - falls, np.minimum((fell + difference) / (1 - fell), 1.0))
    return np.asarray((binom.pmf(falls, num, fell) * rises).sum(axis=1))


def most_rises_held(num: int, margin: float) -> np.ndarray:
    """(num + 1,) by the number of falls: the most rises with the verdict "held"; -1 if none."""
    most = np.full(num + 1, -1)
    rises = 0
    for falls in range(num + 1):
        while rises <= num - falls and is_held(rises, falls, num, margin):
            rises += 1
        most[falls] = min(rises - 1, num - falls)
        rises = min(rises, num - falls)
    return most


def is_held(rises: int, falls: int, num: int, margin: float) -> bool:
    low, high = tango_interval(rises, falls, num)
    return retention(PairedChange((rises - falls) / num, low, high, num, rises, falls, 1.0), margin) == "held"


@pytest.mark.parametrize("num", [20, 21, 30, 40, 60, 75, 100, 114, 150, 200, 300, 500, 1000])
def test_held_errs_in_at_most_3_percent(num: int) -> None:
    """The rate rises by the whole margin, whatever the rate before (.005 to .5) and whatever share of prompts fell."""
    for margin in (0.02, 0.03, 0.05, 0.07, 0.1):
        error = error_above(num, margin, most_rises_held(num, margin)).max()
        assert error <= 0.03, (margin, error)


@pytest.mark.parametrize("num", [20, 21, 22, 30, 40, 50, 114])
def test_tangos_interval_covers_the_change_in_94_percent(num: int) -> None:
    rises, falls = np.meshgrid(np.arange(num + 1), np.arange(num + 1), indexing="ij")
    ends = np.full((num + 1, num + 1, 2), np.nan)
    for rise, fall in zip(*np.nonzero(rises + falls <= num), strict=True):
        ends[rise, fall] = tango_interval(int(rise), int(fall), num)
    for difference in DIFFERENCES:
        covered = (ends[..., 0] <= difference) & (difference <= ends[..., 1])
        for fell in shares_that_fell(difference)[:, 0]:
            rose = min((fell + difference) / (1 - fell), 1.0)
            chances = binom.pmf(falls, num, fell) * binom.pmf(rises, np.maximum(num - falls, 0), rose)
            assert (chances * covered).sum() >= 0.94, (difference, fell)


def test_held_errs_in_at_most_3_percent_end_to_end() -> None:
    """2,000 drawn experiments at the margin, from outcomes to the verdict."""
    generator = np.random.default_rng(0)
    num_held = 0
    for _ in range(2000):
        before = generator.random(60) < 0.3
        after = np.where(before, generator.random(60) < 0.8, generator.random(60) < 0.16 / 0.7)
        change = paired_change(*(dict(enumerate(outcomes.tolist())) for outcomes in (before, after)))
        num_held += retention(change, margin=0.1) == "held"
    assert 0.01 <= num_held / 2000 <= 0.03 + 2 * np.sqrt(0.03 * 0.97 / 2000)
