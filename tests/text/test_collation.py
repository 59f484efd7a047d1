"""Micro-batches written out, and the model's loss and gradient on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from grsap.text import SOURCES, ChatTemplate, EncodedRow, EncodingSettings, collate_packed, collate_padded, encode_rows
from grsap.text.collation import RowSpan


def encoded(name, source, ids, supervised):
    return EncodedRow(name, source, np.array(ids, np.int32), np.array(supervised, np.bool_))


TASK = encoded("t", "task", [1, 11, 12, 2, 13, 14, 2, 10], [0, 0, 1, 1, 0, 1, 1, 0])
REPLAY = encoded("r", "replay", [1, 21, 22, 2], [0, 0, 1, 1])
OTHER = encoded("o", "task", [1, 31, 2], [0, 0, 1])


def test_packed_by_hand():
    batch = collate_packed([TASK, REPLAY])
    assert batch.input_ids.tolist() == [[1, 11, 12, 2, 13, 14, 2, 10, 1, 21, 22, 2]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]]
    assert batch.attention_mask is None
    assert batch.target_positions.tolist() == [1, 2, 4, 5, 9, 10]
    assert batch.target_ids.tolist() == [12, 2, 14, 2, 22, 2]
    assert batch.target_rows.tolist() == [0, 0, 0, 0, 1, 1]
    assert batch.target_offsets.tolist() == [0, 1, 0, 1, 0, 1], "a second answer counts anew"
    assert batch.row_ids == ("t", "r")
    assert batch.sources == ("task", "replay")
    assert batch.spans == (RowSpan(0, 0, 8), RowSpan(0, 8, 4))
    assert batch.num_targets == (4, 2)
    assert batch.num_tokens == 12


def test_padded_by_hand():
    # Pad is the turn end: the targets that are turn ends stay, and no padding becomes one.
    batch = collate_padded([TASK, REPLAY], pad_token_id=2)
    assert batch.input_ids.tolist() == [[1, 11, 12, 2, 13, 14, 2, 10], [1, 21, 22, 2, 2, 2, 2, 2]]
    assert batch.attention_mask.tolist() == [[1] * 8, [1] * 4 + [0] * 4]
    assert batch.position_ids.tolist() == [list(range(8))] * 2
    assert batch.target_positions.tolist() == [1, 2, 4, 5, 9, 10]
    assert batch.target_ids.tolist() == [12, 2, 14, 2, 22, 2]
    assert batch.spans == (RowSpan(0, 0, 8), RowSpan(1, 0, 4))
    assert batch.num_tokens == 12


@pytest.mark.parametrize("collate", [collate_packed, lambda rows: collate_padded(rows, 0)])
def test_task_rows_come_first_and_each_source_is_one_slice(collate):
    batch = collate([REPLAY, TASK, REPLAY, OTHER])
    assert batch.row_ids == ("t", "o", "r", "r")
    assert batch.num_targets == (4, 1, 2, 2)
    assert batch.target_slice("task") == slice(0, 5)
    assert batch.target_slice("replay") == slice(5, 9)
    for source in SOURCES:
        rows = batch.target_rows[batch.target_slice(source)].tolist()
        assert {batch.sources[row] for row in rows} == {source}


@pytest.mark.parametrize("collate", [collate_packed, lambda rows: collate_padded(rows, 3)])
def test_every_target_is_found_from_its_row(collate):
    rows = [TASK, OTHER, REPLAY]
    batch = collate(rows)
    flat = batch.input_ids.flatten()
    assert torch.equal(flat[batch.target_positions + 1], batch.target_ids)
    for number, row in enumerate(rows):
        mine = batch.target_rows == number
        assert batch.target_ids[mine].tolist() == row.input_ids[row.supervised].tolist()
        where = batch.spans[number]
        length = batch.input_ids.shape[1]
        begin = where.batch_index * length + where.start
        assert flat[begin : begin + where.length].tolist() == row.input_ids.tolist()
        assert (batch.target_positions[mine] - begin + 1).tolist() == np.flatnonzero(row.supervised).tolist()


@pytest.mark.parametrize("collate", [collate_packed, lambda rows: collate_padded(rows, 3)])
def test_the_first_token_of_a_row_is_never_a_target(collate):
    everything = encoded("x", "task", [5, 6, 7], [1, 1, 1])
    batch = collate([OTHER, everything])
    assert batch.target_ids.tolist() == [2, 6, 7]
    assert batch.num_targets == (1, everything.num_targets) == (1, 2)
    assert batch.target_offsets.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("collate", "token"), [(collate_packed, 0), (lambda rows: collate_padded(rows, 3), 3)])
def test_no_rows_still_make_a_batch(collate, token, tiny_llama):
    batch = collate([])
    assert batch.input_ids.tolist() == [[token]]
    assert (batch.target_ids.numel(), batch.num_tokens, batch.num_targets) == (0, 0, ())
    logits = tiny_llama(batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids).logits
    assert logits.isfinite().all()


def loss_and_gradient(model, batch):
    model.zero_grad()
    logits = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids, use_cache=False
    ).logits
    chosen = logits.flatten(0, 1)[batch.target_positions]
    losses = functional.cross_entropy(chosen, batch.target_ids, reduction="none")
    losses.sum().backward()
    return losses.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


# Eager attention takes its softmax in float32, whatever the model's type.
@pytest.mark.parametrize(("attention", "tolerance"), [("sdpa", 1e-10), ("eager", 1e-5)])
def test_packed_padded_and_alone_give_one_loss_and_gradient(tiny_llama, tiny_tokenizer, attention, tolerance):
    model = tiny_llama.double()
    model.set_attn_implementation(attention)
    conversations = [
        ("How do I get in?", "Call a locksmith."),
        ("Why?", "I am sorry, I cannot help with that."),
        ("é", "日"),
    ]
    rows = encode_rows(
        [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in conversations],
        ChatTemplate(tiny_tokenizer),
        "task",
        EncodingSettings(),
    ).rows
    assert len({row.length for row in rows}) == 3
    packed_losses, packed = loss_and_gradient(model, collate_packed(rows))
    padded_losses, padded = loss_and_gradient(model, collate_padded(rows, tiny_tokenizer.eos_token_id))
    alone = [loss_and_gradient(model, collate_packed([row])) for row in rows]
    alone_losses = torch.cat([losses for losses, _ in alone])
    assert packed_losses.shape == (sum(row.num_targets for row in rows),)
    torch.testing.assert_close(packed_losses, alone_losses, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(padded_losses, alone_losses, rtol=tolerance, atol=tolerance)
    assert max(gradient.abs().max() for gradient in packed.values()) > 0.1
    for name, gradient in packed.items():
        torch.testing.assert_close(padded[name], gradient, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(sum(each[name] for _, each in alone), gradient, rtol=tolerance, atol=tolerance)


def test_a_batch_moves_whole():
    moved = collate_padded([TASK, REPLAY], 2).to("meta")
    assert moved.attention_mask.device.type == moved.target_offsets.device.type == moved.input_ids.device.type == "meta"
    assert moved.row_ids == ("t", "r")
