"""What comes of records: the refusal of sides that differ, ratios, exponents, targets."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from benchmarks.runner.cell import Cell, Figure, Job, Side
from benchmarks.runner.figures import SidesDifferError, check_agreement, exponent, is_met, summed_up

RECORD: dict[str, Any] = {
    "rows": [["r1", "r2"], ["r3", "r4"]],
    "tokens": [20, 30],
    "supervised": [8, 9],
    "losses": [2.0, 1.5],
    "adapter_hash": "same",
    "tokens_per_s": 300.0,
    "peak_bytes": 600,
    "seconds": 10.0,
    "deep": {"values": [1.0, 7.0]},
}


def cell(**changes: Any) -> Cell:
    sides = {"a": Side("grsap_fit", x=1.0), "b": Side("loop", x=4.0), "c": Side("loop", x=16.0)}
    return Cell(**{"name": "cell", "title": "a cell", "sides": sides, "figures": [], "job": Job(), **changes})


def other(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(RECORD), **changes}


def test_sides_that_did_the_same_agree() -> None:
    # Rows of a step may lie in another order, and losses differ by rounding.
    check_agreement(cell(), {"a": RECORD, "b": other(rows=[["r2", "r1"], ["r3", "r4"]], losses=[2.001, 1.52])})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": [["r1", "r3"], ["r2", "r4"]]}, "saw other rows, or supervised other tokens of them, at step 1"),
        ({"rows": [["r1", "r2"], ["r3", "r3"]]}, "at step 2"),
        ({"rows": [["r1", "r2"]]}, "made 2 and 1 steps"),
        ({"tokens": [20, 31]}, "had 50 and 51 tokens tokens"),
        ({"supervised": [8, 8]}, "had 17 and 16 supervised tokens"),
        ({"adapter_hash": "other"}, "start from different adapters"),
        ({"losses": [2.0, 1.6]}, "1.50000 and 1.60000 at step 2: 6.25% apart, more than 2.00%"),
        ({"losses": [2.01, 1.5]}, "at step 1: 0.50% apart, more than 0.20%"),
        ({"losses": [2.0, float("nan")]}, "at step 2"),
    ],
)
def test_sides_that_differ_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SidesDifferError) as caught:
        check_agreement(cell(), {"a": RECORD, "b": other(**changes)})
    assert problem in str(caught.value)


def test_every_side_is_compared() -> None:
    with pytest.raises(SidesDifferError, match="a and c saw other rows"):
        check_agreement(cell(), {"a": RECORD, "b": other(), "c": other(rows=[["r1", "x"], ["r3", "r4"]])})


def test_rows_of_the_run_may_come_at_other_steps() -> None:
    moved = other(rows=[["r1", "r3"], ["r2", "r4"]], losses=[9.0, 9.0], adapter_hash="other")
    check_agreement(cell(same_rows="run", loss_tolerance=None), {"a": RECORD, "b": moved})
    with pytest.raises(SidesDifferError, match="in the run"):
        check_agreement(
            cell(same_rows="run", loss_tolerance=None), {"a": RECORD, "b": other(rows=[["r1", "r1"], ["r2", "r4"]])}
        )


def test_commands_have_no_rows_to_compare() -> None:
    check_agreement(cell(), {"a": RECORD, "b": {"seconds": 1.0}})


def test_ratios_are_of_the_pairs_not_of_medians() -> None:
    speeds = [(300.0, 100.0), (200.0, 50.0), (330.0, 150.0)]
    alternations = [{"a": other(tokens_per_s=ours), "b": other(tokens_per_s=theirs)} for ours, theirs in speeds]
    figure = Figure("a", "tokens_per_s", over="b", target={"at_least": 3.0}, name="ratio")
    (told,) = summed_up(cell(figures=[figure]), alternations)
    assert told["all"] == [3.0, 4.0, 2.2]
    assert (told["median"], told["min"], told["max"], told["met"]) == (3.0, 2.2, 4.0, True)


def test_differences_shares_and_deep_values() -> None:
    figures = [
        Figure("a", "seconds", minus="b", minus_by="peak_bytes"),
        Figure("a", "peak_bytes", divided_by="seconds"),
        Figure("a", "deep.values.1"),
    ]
    told = summed_up(cell(figures=figures), [{"a": RECORD, "b": other(peak_bytes=4)}])
    assert [each["median"] for each in told] == [6.0, 60.0, 7.0]
    assert told[0]["name"] == "seconds of a less peak_bytes of b"


def test_an_exponent_is_the_slope_of_logarithms() -> None:
    assert exponent([1.0, 4.0, 16.0], [3.0, 48.0, 768.0]) == pytest.approx(2.0)
    assert exponent([1.0, 4.0, 16.0], [5.0, 5.0, 5.0]) == pytest.approx(0.0)
    # Least squares through (0, 0), (1, 1), (2, 3) in logarithms to the base 2: slope 1.5.
    assert exponent([1.0, 2.0, 4.0], [1.0, 2.0, 8.0]) == pytest.approx(1.5)
    records = {"a": other(seconds=1.0), "b": other(seconds=4.0), "c": other(seconds=16.0)}
    (told,) = summed_up(cell(figures=[Figure(["a", "b", "c"], "seconds")]), [records])
    assert told["median"] == pytest.approx(1.0)


def test_a_value_that_no_record_has() -> None:
    with pytest.raises(SidesDifferError, match=r"a record has no mfu; it has rows, tokens"):
        summed_up(cell(figures=[Figure("a", "mfu")]), [{"a": RECORD}])


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (3.0, {"at_least": 3.0}, True),
        (2.999, {"at_least": 3.0}, False),
        (0.7, {"at_most": 0.7}, True),
        (0.71, {"at_most": 0.7}, False),
        (1.0, None, None),
    ],
)
def test_targets(value: float, target: dict[str, float] | None, met: bool | None) -> None:
    assert is_met(value, target) is met
