from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grsap.data.dealing import StepBuilder, balance_tokens
from grsap.data.plan import PlannedRow
from grsap.data.step import StepBatch
from grsap.text.encoding import EncodedRow


def row(row_id: str, length: int, num_targets: int, source: str = "task") -> EncodedRow:
    supervised = np.zeros(length, dtype=np.bool_)
    supervised[length - num_targets :] = True
    return EncodedRow(row_id, source, np.arange(1, length + 1, dtype=np.int32), supervised)


LENGTHS = (9, 4, 7, 3, 5, 2)
TARGETS = (2, 2, 2, 2, 2, 1)
BUILDER = StepBuilder(
    rows={
        "task": [row(f"t{n}", *sizes) for n, sizes in enumerate(zip(LENGTHS, TARGETS, strict=True))],
        "replay": [row("r0", 6, 3, "replay"), row("r1", 8, 1, "replay")],
    },
    max_tokens=12,
    packed=True,
    pad_token_id=0,
)
PLANNED = [PlannedRow("task", n, 0) for n in range(6)] + [PlannedRow("replay", n, 0) for n in range(2)]


def test_longest_rows_are_dealt_first_to_the_lightest():
    # 9 -> 0, 8 -> 1, 7 -> 1 (8 < 9) = 15, 5 -> 0 = 14, 4 -> 0 = 18, 3 -> 1 = 18
    assert balance_tokens([3, 9, 5, 8, 4, 7], 2) == [[1, 2, 4], [0, 3, 5]]
    assert balance_tokens([5, 5], 4) == [[0], [1], [], []]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 8))
def test_dealing_brings_each_row_once_and_balances(lengths: list[int], world_size: int):
    hands = balance_tokens(lengths, world_size)
    assert sorted(index for hand in hands for index in hand) == list(range(len(lengths)))
    loads = [sum(lengths[index] for index in hand) for hand in hands]
    assert max(loads) - min(loads) <= max(lengths)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("max_tokens", [9, 20, 100])
def test_a_step_has_the_same_rows_and_targets_on_any_number_of_devices(packed: bool, world_size: int, max_tokens: int):
    builder = StepBuilder(BUILDER.rows, max_tokens, packed, pad_token_id=0)
    batches = [builder.build(3, PLANNED, rank, world_size) for rank in range(world_size)]
    for batch in batches:
        assert batch.step == 3
        assert batch.num_targets == {"task": 11, "replay": 4}
        assert batch.num_tokens == 44
        assert batch.row_ids == ("t0", "t1", "t2", "t3", "t4", "t5", "r0", "r1")
        assert batch.rows == tuple(PLANNED)
        assert all(micro.input_ids.numel() <= max_tokens for micro in batch.micro_batches)
    micro = [micro for batch in batches for micro in batch.micro_batches]
    assert sorted(row_id for m in micro for row_id in m.row_ids) == sorted(batches[0].row_ids)
    # Of each row the last tokens are targets, and a token's id is its place in the row, from 1.
    found = Counter((m.row_ids[r], int(t)) for m in micro for r, t in zip(m.target_rows, m.target_ids, strict=True))
    expected = [(f"t{n}", LENGTHS[n] - k) for n in range(6) for k in range(TARGETS[n])]
    assert found == Counter([*expected, ("r0", 4), ("r0", 5), ("r0", 6), ("r1", 8)])


def test_packs_of_a_rank_worked_out_by_hand():
    # Lengths t0..t5, r0, r1 = 9 4 7 3 5 2 6 8; dealt 9 6 5 2 to rank 0 and 8 7 4 3 to rank 1: 22 tokens each.
    # Best fit in 12: the 2 fills the 9 (room 3), not the 6 + 5 (room 1); the 4 fills the 8, the 3 the 7.
    first, second = (BUILDER.build(0, PLANNED, rank, 2) for rank in range(2))
    assert [set(m.row_ids) for m in first.micro_batches] == [{"t0", "t5"}, {"r0", "t4"}]
    assert [set(m.row_ids) for m in second.micro_batches] == [{"r1", "t1"}, {"t2", "t3"}]


def test_a_rank_without_rows_enters_with_no_target():
    batches = [BUILDER.build(7, [PlannedRow("task", 2, 0), PlannedRow("task", 3, 0)], rank, 4) for rank in range(4)]
    assert [b.micro_batches[0].row_ids for b in batches] == [("t2",), ("t3",), ("t3",), ("t3",)]
    assert [len(b.micro_batches[0].target_ids) for b in batches] == [2, 2, 0, 0]
    assert all(batch.num_targets == {"task": 4, "replay": 0} for batch in batches)
    assert batches[3].micro_batches[0].input_ids.tolist() == [[1, 2, 3]]
    assert BUILDER.rows["task"][3].num_targets == 2


def test_moving_a_batch_keeps_its_facts():
    batch = BUILDER.build(0, PLANNED, 0, 1)
    moved = batch.to("meta")
    assert isinstance(moved, StepBatch)
    assert moved.micro_batches[0].input_ids.device == torch.device("meta")
    assert (moved.row_ids, moved.num_targets) == (batch.row_ids, batch.num_targets)
