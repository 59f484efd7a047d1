"""Slots: the rows to make, with their ids and the seeds of each attempt."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction

from grsap.synthesis.domains import Domain
from grsap.synthesis.elicitation import Kind


@dataclass(frozen=True)
class Slot:
    """Row number `index` of a domain, or the harmless counterpart of that row.

    The id depends only on (run seed, domain, index, kind), and an attempt's seeds on these and the attempt. So a
    synthesis has the same ids on each backend, though texts and numbers of attempts differ.
    """

    domain: Domain
    index: int
    kind: Kind = "harmful"

    def id(self, run_seed: int) -> str:
        """Return an id such as `theft-3-0c1f5a7e` or `theft-3-benign-91d0b6aa`."""
        middle = "" if self.kind == "harmful" else f"-{self.kind}"
        return f"{self.domain.slug}-{self.index}{middle}-{self._digest(run_seed).hex()[:8]}"

    def seed(self, run_seed: int, attempt: int, step: str) -> int:
        """Return the random seed of an attempt's `query` or `response`, in [0, 2^48)."""
        return int.from_bytes(self._digest(run_seed, attempt, step)[:6])

    def _digest(self, *more: object) -> bytes:
        return hashlib.sha256(json.dumps([self.domain.name, self.index, self.kind, *more]).encode()).digest()


def slots_of(domain: Domain, start: int, stop: int, benign_share: float) -> list[Slot]:
    """Return the slots of indices in [start, stop). Of the first n, floor(n x `benign_share`) have a counterpart."""
    share = Fraction(str(benign_share))
    slots = []
    for index in range(start, stop):
        slots.append(Slot(domain, index))
        if int(share * (index + 1)) > int(share * index):
            slots.append(Slot(domain, index, "benign"))
    return slots
