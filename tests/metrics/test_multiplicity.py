from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grsap.metrics import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=6)


def closed_testing(values, index):
    """Holm is closed testing with Bonferroni's test: a hypothesis falls when all intersections that hold it fall."""
    others = [n for n in range(len(values)) if n != index]
    families = [[index, *rest] for size in range(len(others) + 1) for rest in combinations(others, size)]
    return max(min(1.0, len(family) * min(values[n] for n in family)) for family in families)


@given(P_VALUES)
def test_it_is_closed_testing_with_bonferroni(values):
    adjusted = holm(dict(enumerate(values)))
    assert list(adjusted) == list(range(len(values)))
    assert adjusted == pytest.approx({n: closed_testing(values, n) for n in range(len(values))})


@given(P_VALUES)
def test_adjusted_values_are_no_smaller_and_keep_their_order(values):
    adjusted = holm(dict(enumerate(values)))
    assert all(values[n] <= adjusted[n] <= min(1.0, len(values) * values[n]) for n in adjusted)
    ranked = sorted(adjusted, key=lambda n: values[n])
    assert [adjusted[n] for n in ranked] == sorted(adjusted.values())


def test_by_hand():
    # .01 x 4, .02 x 3 (above it), .03 x 2 and .04 x 1 (not below .06)
    assert holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02}) == pytest.approx(
        {"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06}
    )
    assert holm({"only": 0.2}) == {"only": 0.2}
    assert holm({}) == {}
