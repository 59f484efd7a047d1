"""Losses worked out by hand, and chunks that change nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from grsap.errors import ConfigError
from grsap.objectives import CrossEntropy, FixedWeights, KLToBase, TokenChunk
from grsap.objectives.chunked import chunked_loss
from grsap.records import Source
from grsap.text.collation import collate_packed
from grsap.text.encoding import EncodedRow

ZEROS = torch.zeros(2, dtype=torch.int64)


def logits_as_hidden(*rows: list[float]) -> Tensor:
    return torch.tensor([[math.log(p) for p in row] for row in rows])


def identity(hidden: Tensor) -> Tensor:
    return hidden


def test_cross_entropy_is_the_negative_log_probability_of_the_target() -> None:
    hidden = logits_as_hidden([0.5, 0.25, 0.25], [0.1, 0.1, 0.8])
    chunk = TokenChunk(hidden, identity, torch.tensor([0, 2]), ZEROS, ZEROS)
    losses = CrossEntropy("task").token_losses(chunk)
    assert losses.tolist() == pytest.approx([math.log(2), -math.log(0.8)], abs=1e-6)


def test_kl_to_base_is_the_kl_of_the_base_from_the_model() -> None:
    hidden = logits_as_hidden([0.5, 0.5], [0.9, 0.1])
    base = logits_as_hidden([0.25, 0.75], [0.9, 0.1])
    chunk = TokenChunk(hidden, identity, torch.tensor([0, 0]), ZEROS, ZEROS, base)
    losses = KLToBase().token_losses(chunk)
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert losses.tolist() == pytest.approx([expected, 0.0], abs=1e-6)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="weight of objective replay_cross_entropy is -1"):
        CrossEntropy("replay", weight=-1)


def test_fixed_weights_are_the_objectives_own() -> None:
    terms = [CrossEntropy("task"), KLToBase(weight=0.3, name="kl")]
    assert FixedWeights().weights(terms, None) == {"task_cross_entropy": 1.0, "kl": 0.3}


def row(name: str, source: Source, ids: list[int], first_target: int) -> EncodedRow:
    supervised = np.arange(len(ids)) >= first_target
    return EncodedRow(name, source, np.array(ids, dtype=np.int32), supervised)


@pytest.mark.parametrize("head_is_trained", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_chunks_give_the_value_and_gradient_of_the_whole_in_float64(chunk_size: int, head_is_trained: bool) -> None:
    torch.manual_seed(0)
    batch = collate_packed(
        [row("r", "replay", [4, 5, 6, 7], 1), row("t", "task", [1, 2, 3, 4, 5, 6], 2), row("s", "replay", [7, 7, 1], 2)]
    )
    targets = len(batch.target_ids)
    assert targets == 3 + 4 + 1
    head = torch.nn.Linear(6, 9, bias=False, dtype=torch.float64).requires_grad_(head_is_trained)
    hidden = torch.randn(targets, 6, dtype=torch.float64)
    base = torch.randn(targets, 6, dtype=torch.float64)
    terms = [CrossEntropy("task"), CrossEntropy("replay"), KLToBase()]

    chunked = hidden.clone().requires_grad_()
    factors = {"task_cross_entropy": 1.0, "replay_cross_entropy": 2.0, "replay_kl_to_base": 0.5}
    loss, sums = chunked_loss(chunked, head, batch, terms, factors, base, chunk_size, head_is_trained)
    (3 * loss).backward()  # what stands behind it has its say too
    head_gradient, head.weight.grad = head.weight.grad, None

    plain = hidden.clone().requires_grad_()
    log_p = torch.log_softmax(head(plain).float(), -1)
    log_b = torch.log_softmax(head(base).float(), -1).detach()
    nll = -log_p[torch.arange(targets), batch.target_ids]
    kl = (log_b.exp() * (log_b - log_p)).sum(-1)
    # Targets are ordered by source: 4 of the task, then 4 of replay.
    expected = [nll[:4].sum(), nll[4:].sum(), kl[4:].sum()]
    whole = expected[0] + 2 * expected[1] + 0.5 * expected[2]
    (3 * whole).backward()

    assert float(loss) == pytest.approx(float(whole), rel=1e-6)
    assert not any(value.requires_grad for value in sums.values())
    assert [float(value) for value in sums.values()] == pytest.approx([float(v) for v in expected], rel=1e-6)
    torch.testing.assert_close(chunked.grad, plain.grad, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(head_gradient, head.weight.grad, rtol=1e-5, atol=1e-8)


def test_an_objective_without_tokens_gives_zero_and_keeps_the_graph() -> None:
    batch = collate_packed([row("t", "task", [1, 2, 3], 1)])
    hidden = torch.randn(2, 3, requires_grad=True)
    factors = {"replay_cross_entropy": 1.0}
    loss, sums = chunked_loss(hidden, torch.nn.Linear(3, 5), batch, [CrossEntropy("replay")], factors)
    assert float(sums["replay_cross_entropy"]) == float(loss) == 0.0
    loss.backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() == 0


def test_a_device_without_a_target_gives_a_trained_head_a_gradient_of_zeros() -> None:
    """Else DDP would wait for it for ever."""
    batch = collate_packed([row("t", "task", [1, 2, 3], 1)])
    head = torch.nn.Linear(3, 5)
    hidden, factors = torch.zeros(0, 3, requires_grad=True), {"replay_cross_entropy": 1.0}
    loss, _ = chunked_loss(hidden, head, batch, [CrossEntropy("replay")], factors, None, 4, True)
    loss.backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() == 0
