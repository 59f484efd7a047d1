from math import sqrt

import numpy as np
import pytest

from grsap.metrics import smallest_detectable_difference, wilson_interval
from grsap.metrics.intervals import Z95
from grsap.metrics.power import Z80


@pytest.mark.parametrize(("num_pairs", "num_changed"), [(100, 20), (500, 5), (2000, 300), (114, 0)])
def test_connors_number_of_pairs(num_pairs, num_changed):
    difference = smallest_detectable_difference(num_pairs, num_changed)
    share = max(wilson_interval(num_changed, num_pairs)[1], difference)
    needed = ((Z95 * sqrt(share) + Z80 * sqrt(share - difference**2)) / difference) ** 2
    assert needed == pytest.approx(num_pairs, rel=1e-6)


def test_it_is_found_four_times_in_five():
    num, num_changed = 400, 60
    difference = smallest_detectable_difference(num, num_changed)
    share = wilson_interval(num_changed, num)[1]
    drawn = np.random.default_rng(0).multinomial(
        num, [(share + difference) / 2, (share - difference) / 2, 1 - share], size=20_000
    )
    statistics = (drawn[:, 0] - drawn[:, 1]) / np.sqrt(drawn[:, 0] + drawn[:, 1])
    assert (statistics > Z95).mean() == pytest.approx(0.8, abs=0.02)


def test_more_prompts_find_less_and_few_find_nothing():
    found = [smallest_detectable_difference(num, num // 10) for num in (50, 200, 1000, 5000)]
    assert found == sorted(found, reverse=True)
    assert smallest_detectable_difference(0, 0) is None
    assert smallest_detectable_difference(3, 0) is None
