from __future__ import annotations

from grsap.synthesis import load_domains
from grsap.synthesis.slots import Slot, slots_of

DOMAINS = load_domains()


def test_ids_and_seeds_never_change() -> None:
    """Literal ids: rows of earlier versions must be recognised."""
    slot, counterpart = Slot(DOMAINS[0], 3), Slot(DOMAINS[0], 3, "benign")
    assert slot.id(0) == "violence-3-69508928"
    assert counterpart.id(0) == "violence-3-benign-658fd726"
    assert (slot.seed(0, 0, "query"), slot.seed(0, 1, "query"), slot.seed(0, 0, "response")) == (
        167865641921216,
        264073566595110,
        10941084321065,
    )


def test_ids_and_seeds_differ_everywhere() -> None:
    slots = [slot for domain in DOMAINS for slot in slots_of(domain, 0, 20, 1.0)]
    assert len(slots) == 38 * 20 * 2
    ids = {slot.id(seed) for slot in slots for seed in (0, 1)}
    assert len(ids) == len(slots) * 2
    seeds = {slot.seed(run, attempt, step) for slot in slots for run in (0, 1) for attempt in (0, 1) for step in "qr"}
    assert len(seeds) == len(slots) * 8
    assert all(0 <= seed < 2**48 for seed in seeds)


def test_counterparts_are_spread_evenly() -> None:
    slots = slots_of(DOMAINS[0], 0, 10, 0.3)
    assert [slot.index for slot in slots if slot.kind == "benign"] == [3, 6, 9]
    assert [slot.index for slot in slots if slot.kind == "harmful"] == list(range(10))
    # In any cut of the range the same indices have one.
    assert [s for stop in range(10) for s in slots_of(DOMAINS[0], stop, stop + 1, 0.3)] == slots
