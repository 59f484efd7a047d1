"""Whether the sides did the same, and the numbers that come of their records."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.runner.cell import Cell, Figure
from grsap.errors import GrsapError

Record = Mapping[str, Any]
FIRST_STEP_FACTOR = 0.1
"""Before any update only rounding differs: the first losses agree this much closer."""


class SidesDifferError(GrsapError):
    """The sides did not do the same work: their speeds say nothing about each other."""


def check_agreement(cell: Cell, records: Mapping[str, Record]) -> None:
    """Compare all sides of one alternation with the first.

    Raises:
        SidesDifferError: names the sides, the step and what differs.
    """
    trained = {name: record for name, record in records.items() if "rows" in record}
    if cell.same_rows == "not" or len(trained) < 2:
        return
    first, *others = trained
    for other in others:
        pair = f"{first} and {other}"
        a, b = trained[first], trained[other]
        _check_rows(pair, a, b, by_step=cell.same_rows == "step")
        if cell.loss_tolerance is not None:
            if a["adapter_hash"] != b["adapter_hash"]:
                raise SidesDifferError(f"{cell.name}: {pair} start from different adapters.")
            _check_losses(pair, a["losses"], b["losses"], cell.loss_tolerance)


def _check_rows(pair: str, a: Record, b: Record, *, by_step: bool) -> None:
    rows_a, rows_b = (
        record["rows"] if by_step else [[row for rows in record["rows"] for row in rows]] for record in (a, b)
    )
    if len(rows_a) != len(rows_b):
        raise SidesDifferError(f"{pair} made {len(rows_a)} and {len(rows_b)} steps.")
    for step, (left, right) in enumerate(zip(rows_a, rows_b, strict=True), 1):
        if Counter(left) != Counter(right):
            where = f"at step {step}" if by_step else "in the run"
            raise SidesDifferError(f"{pair} saw other rows, or supervised other tokens of them, {where}.")
    for count in ("tokens", "supervised"):
        if sum(a[count]) != sum(b[count]):
            raise SidesDifferError(f"{pair} had {sum(a[count])} and {sum(b[count])} {count} tokens.")


def _check_losses(pair: str, a: Sequence[float], b: Sequence[float], tolerance: float) -> None:
    for step, (left, right) in enumerate(zip(a, b, strict=True), 1):
        allowed = tolerance * (FIRST_STEP_FACTOR if step == 1 else 1.0)
        difference = abs(left - right) / max(abs(left), abs(right), 1e-12)
        if not difference <= allowed:  # NaN is no agreement either
            raise SidesDifferError(
                f"the losses of {pair} are {left:.5f} and {right:.5f} at step {step}: {difference:.2%} apart, more "
                f"than {allowed:.2%}."
            )


def value_of(record: Record, path: str) -> float:
    """The number at a dotted path of a record.

    Raises:
        SidesDifferError: there is none.
    """
    found: Any = record
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise SidesDifferError(f"a record has no {path}; it has {', '.join(record)}.") from error
    return float(found)


def figure_values(cell: Cell, figure: Figure, alternations: Sequence[Mapping[str, Record]]) -> list[float]:
    """The figure of each alternation."""
    return [_value(cell, figure, records) for records in alternations]


def _value(cell: Cell, figure: Figure, records: Mapping[str, Record]) -> float:
    if isinstance(figure.of, list):
        places = [float(cell.sides[name].x or 0.0) for name in figure.of]
        return exponent(places, [value_of(records[name], figure.by) for name in figure.of])
    value = value_of(records[figure.of], figure.by)
    if figure.divided_by:
        value /= value_of(records[figure.of], figure.divided_by)
    if figure.minus:
        value -= value_of(records[figure.minus], figure.minus_by or figure.by)
    return value / value_of(records[figure.over], figure.by) if figure.over else value


def exponent(places: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log value over log place, by least squares: 1 is linear growth, 0 none."""
    fit = statistics.linear_regression([math.log(x) for x in places], [math.log(y) for y in values])
    return fit.slope


def summed_up(cell: Cell, alternations: Sequence[Mapping[str, Record]]) -> list[dict[str, Any]]:
    """Median and range of every figure, and whether its target is met by the median."""
    told = []
    for figure in cell.figures:
        values = figure_values(cell, figure, alternations)
        median = statistics.median(values)
        told.append(
            {
                "name": figure_name(figure),
                "median": median,
                "min": min(values),
                "max": max(values),
                "all": values,
                "target": figure.target,
                "met": is_met(median, figure.target),
            }
        )
    return told


def is_met(value: float, target: Mapping[str, float] | None) -> bool | None:
    """Whether a value keeps its target; None without one."""
    if not target:
        return None
    return value >= target.get("at_least", -math.inf) and value <= target.get("at_most", math.inf)


def figure_name(figure: Figure) -> str:
    """As it stands in the table: its own, or what it is made of."""
    if figure.name:
        return figure.name
    name = f"{figure.by} of {figure.of if isinstance(figure.of, str) else ', '.join(figure.of)}"
    name += f" over {figure.divided_by}" if figure.divided_by else ""
    name += f" less {figure.minus_by or figure.by} of {figure.minus}" if figure.minus else ""
    return name + (f" / {figure.over}" if figure.over else "")
