"""Attention row by row is masked attention, in values, gradients and a compiled graph."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from grsap.models.row_attention import attend_by_row, attends_by_row, by_row

LENGTHS = (5, 1, 9, 3)
BOUNDS = torch.tensor([0, 5, 6, 15, 18], dtype=torch.int32)
SCALING = 0.3


def states(heads: tuple[int, int, int] = (6, 2, 2)) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, num, sum(LENGTHS), 8, dtype=torch.float64, requires_grad=True) for num in heads]


def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mask = torch.block_diag(*[torch.ones(length, length) for length in LENGTHS]).tril().bool()
    key, value = key.repeat_interleave(3, 1), value.repeat_interleave(3, 1)
    return scaled_dot_product_attention(query, key, value, mask, scale=SCALING).transpose(1, 2)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_values_and_gradients_are_those_under_a_mask(compiled: bool) -> None:
    def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output: Tensor = by_row(query, key, value, BOUNDS, SCALING)[0]
        return output

    run = torch.compile(ours, fullgraph=True) if compiled else ours
    upstream = torch.randn(1, sum(LENGTHS), 6, 8, dtype=torch.float64)
    results = []
    for attention in (run, masked):
        inputs = states()
        output = attention(*inputs)
        output.backward(upstream)
        results.append([output.detach(), *(each.grad for each in inputs)])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


def test_the_op_is_well_formed() -> None:
    torch.library.opcheck(by_row, (*states(), BOUNDS, SCALING))


def test_models_with_windows_or_dropout_keep_their_own() -> None:
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    models = [
        LlamaForCausalLM(LlamaConfig(**sizes, **heads)),
        LlamaForCausalLM(LlamaConfig(**sizes, **heads, attention_dropout=0.1)),
        MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=4)),
        LlamaForCausalLM(LlamaConfig(**sizes, **heads, attn_implementation="eager")),
        GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2)),
        GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, attn_pdrop=0.0)),
    ]
    for model in models:
        attend_by_row(model)
    assert [attends_by_row(model) for model in models] == [True, False, False, False, False, True]


def test_a_padded_batch_and_a_plain_call_give_what_they_gave() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 64, (2, 7))
    mask = torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        before = [model(ids).logits, model(ids, attention_mask=mask).logits, model.generate(ids, max_new_tokens=4)]
        attend_by_row(model)
        after = [model(ids).logits, model(ids, attention_mask=mask).logits, model.generate(ids, max_new_tokens=4)]
    for left, right in zip(before, after, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("device", "compiled"),
    [
        ("cpu", False),
        pytest.param("cuda", False, marks=pytest.mark.gpu),
        pytest.param("cuda", True, marks=pytest.mark.gpu),
    ],
)
def test_packed_rows_in_bf16_are_those_alone(tiny_llama: LlamaForCausalLM, device: str, compiled: bool) -> None:
    """Values and gradients, with grouped heads, against float64 on the processor."""
    ours = copy.deepcopy(tiny_llama).to(device, torch.bfloat16)
    exact = tiny_llama.model.double()
    attend_by_row(ours, torch.bfloat16)
    assert attends_by_row(ours)
    if compiled:
        for layer in ours.model.layers:
            layer.compile(dynamic=True)
    torch.manual_seed(0)
    ids = torch.randint(0, 512, (1, sum(LENGTHS)))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    packed = ours.model(
        input_ids=ids.to(device),
        position_ids=positions.to(device),
        use_cache=False,
        cu_seq_lens_q=BOUNDS.to(device),
        max_length_q=max(LENGTHS),
    ).last_hidden_state
    upstream = torch.randn(packed.shape)
    packed.backward(upstream.to(device, torch.bfloat16))
    alone = torch.cat([exact(input_ids=row).last_hidden_state for row in ids.split(LENGTHS, 1)], 1)
    alone.backward(upstream.double())
    difference = (packed.detach().cpu().double() - alone.detach()).norm() / alone.detach().norm()
    assert float(difference) < 0.02
    for mine, theirs in zip(ours.model.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        difference = (mine.grad.cpu().double() - theirs.grad).norm() / theirs.grad.norm()
        assert float(difference) < 0.15  # rows that see each other: above 0.5
