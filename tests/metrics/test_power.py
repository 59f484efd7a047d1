import numpy as np
import pytest
from scipy.stats import binomtest

from grsap.metrics import share_interval, smallest_detectable_difference
from grsap.metrics.power import mcnemar_power


@pytest.mark.parametrize(("num", "num_changed"), [(30, 5), (114, 2), (114, 30), (400, 60)])
def test_it_is_found_four_times_in_five(num, num_changed):
    """By the p-values of scipy over 20,000 drawn experiments, at the share of changes that the interval allows."""
    difference = smallest_detectable_difference(num, num_changed)
    share = max(share_interval(num_changed, num)[1], difference)
    chances = [(share + difference) / 2, max(0.0, share - difference) / 2, 1 - share]
    tables, counts = np.unique(
        np.random.default_rng(0).multinomial(num, chances, size=20_000)[:, :2], axis=0, return_counts=True
    )
    found = [rise + fall > 0 and binomtest(int(rise), int(rise + fall)).pvalue <= 0.05 for rise, fall in tables]
    assert counts[np.array(found)].sum() / 20_000 == pytest.approx(0.8, abs=0.02)


def test_the_power_by_hand():
    # All of 6 pairs rise: the p-value is 2 / 2^6 = .031. Of 5 it is .0625.
    assert mcnemar_power(6, 1.0, 1.0) == 1.0
    assert mcnemar_power(5, 1.0, 1.0) == 0.0
    # No difference: what is found is the size of the test, at most 5 %, of which half is a rise.
    assert 0 < mcnemar_power(200, 0.2, 0.0) <= 0.025


def test_more_prompts_find_less_and_few_find_nothing():
    found = [smallest_detectable_difference(num, num // 10) for num in (50, 200, 1000, 5000)]
    assert found == sorted(found, reverse=True)
    assert smallest_detectable_difference(0, 0) is None
    assert smallest_detectable_difference(5, 0) is None
