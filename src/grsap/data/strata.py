"""Quotas of replay rows by difficulty, behaviour and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from grsap.records import SafetyRecord


class Cell(NamedTuple):
    """Stratum key of a row; None for a missing label."""

    difficulty: str | None
    behaviour: str | None
    domain: str


def cell_of(record: SafetyRecord) -> Cell:
    """Return the stratum key of a record."""
    return Cell(record.difficulty, record.behaviour, record.domain)


@dataclass(frozen=True)
class Shortfall:
    """A quota that the replay rows cannot fill.

    Attributes:
        stratum: name, such as `hard` or `hard/refusal/theft`.
        num_wanted: rows of the quota in one pass, or in one epoch if that is shorter.
        num_taken: rows drawn from the stratum; other strata fill the rest.
    """

    stratum: str
    num_wanted: int
    num_taken: int


Quotas = Sequence[Mapping[str | None, float] | None]
"""Share of each value, per level (difficulty, behaviour, domain); None gives all values that occur equal shares."""


@dataclass
class _Stratum:
    """Rows with equal values of the upper levels; `children` split them by the next level."""

    rows: list[int] = field(default_factory=list)
    children: dict[Hashable, _Stratum] = field(default_factory=dict)
    quotas: dict[Hashable, float] = field(default_factory=dict)
    num_left: int = 0
    num_drawn: int = 0

    def draw(self) -> int:
        """Draw a row from the child furthest below its quota; ties go to the first in the order of the pass."""
        turn = self.num_drawn + 1
        self.num_left -= 1
        self.num_drawn = turn
        if not self.children:
            return self.rows[turn - 1]
        left = [key for key, child in self.children.items() if child.num_left]
        return self.children[max(left, key=lambda key: self.quotas[key] * turn - self.children[key].num_drawn)].draw()


def stratified_order(order: Sequence[int], cells: Sequence[Cell], quotas: Quotas) -> list[int]:
    """Reorder a pass so that every prefix meets the quotas as closely as possible.

    Each row occurs once: when a stratum is exhausted, others replace it.

    Args:
        order: shuffled row indices of the pass; rows of one stratum keep their relative order.
        cells: stratum key of each row, by index.
        quotas: shares per level.

    Returns:
        The indices of `order`, reordered.
    """
    root = _Stratum()
    for index in order:
        _insert(root, index, cells[index])
    _set_quotas(root, quotas)
    return [root.draw() for _ in order]


def _insert(root: _Stratum, index: int, cell: Cell) -> None:
    node = root
    node.num_left += 1
    for value in cell:
        node = node.children.setdefault(value, _Stratum())
        node.num_left += 1
    node.rows.append(index)


def _set_quotas(node: _Stratum, quotas: Quotas) -> None:
    if not quotas:
        return
    shares = quotas[0]
    for value, child in node.children.items():
        node.quotas[value] = 1 / len(node.children) if shares is None else shares.get(value, 0.0)  # type: ignore[call-overload]
        _set_quotas(child, quotas[1:])


def find_shortfalls(drawn: Sequence[Cell], available: Sequence[Cell], quotas: Quotas) -> list[Shortfall]:
    """Return the strata, at each level, that are exhausted and at least one row below their quota.

    Args:
        drawn: stratum keys of the rows of the pass.
        available: stratum keys of all rows.
        quotas: shares per level.
    """
    found: list[Shortfall] = []
    wanted: dict[tuple[str | None, ...], float] = {(): float(len(drawn))}
    for level, shares in enumerate(quotas):
        taken = Counter(cell[: level + 1] for cell in drawn)
        existing = Counter(cell[: level + 1] for cell in available)
        below: dict[tuple[str | None, ...], float] = {}
        for parent, num in wanted.items():
            values = dict.fromkeys(cell[level] for cell in available if cell[:level] == parent)
            by_value = dict.fromkeys(values, 1 / max(1, len(values))) if shares is None else shares
            below |= {(*parent, value): num * share for value, share in by_value.items()}
        for stratum, num in below.items():
            if num - taken[stratum] >= 1 and taken[stratum] == existing[stratum]:
                name = "/".join("unlabelled" if value is None else value for value in stratum)
                found.append(Shortfall(name, int(num), taken[stratum]))
        wanted = below
    return found


def describe_shortfalls(found: Sequence[Shortfall], limit: int = 5) -> str:
    """Return one sentence for log and terminal with the first `limit` shortfalls; the manifest lists all."""
    parts = [f"{item.stratum} {item.num_taken} of {item.num_wanted}" for item in found[:limit]]
    more = f", and {len(found) - limit} more" if len(found) > limit else ""
    return f"Replay quotas that the rows cannot fill, met by other rows: {'; '.join(parts)}{more}"
