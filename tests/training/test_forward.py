"""One forward pass for all objectives: packed equals padded, and the base sees its own rows alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import LlamaForCausalLM

from grsap.models.lora import adapter_off, add_lora
from grsap.objectives import CrossEntropy, KLToBase
from grsap.records import Source
from grsap.text.collation import collate_packed, collate_padded
from grsap.text.encoding import EncodedRow
from grsap.training.forward import Forward

TERMS = [CrossEntropy("task"), CrossEntropy("replay"), KLToBase()]
FACTORS = {"task_cross_entropy": 1.0, "replay_cross_entropy": 0.5, "replay_kl_to_base": 2.0}


def rows() -> list[EncodedRow]:
    rng = np.random.default_rng(0)
    lengths: list[tuple[Source, int, int]] = [("replay", 9, 4), ("task", 14, 6), ("task", 5, 2), ("replay", 11, 3)]
    return [
        EncodedRow(f"{source}-{n}", source, rng.integers(4, 500, n).astype(np.int32), np.arange(n) >= n - targets)
        for source, n, targets in lengths
    ]


def floats(sums: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in sums.items()}


def adapted(base: LlamaForCausalLM):  # type: ignore[no-untyped-def]
    model = add_lora(base.double(), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False), seed=1)
    return model.double()


def test_packed_and_padded_give_the_same_sums_and_gradients(tiny_llama: LlamaForCausalLM) -> None:
    model = adapted(tiny_llama)
    forward = Forward(model, TERMS, torch.float32, chunk_size=4)
    results = []
    for batch in (collate_packed(rows()), collate_padded(rows(), pad_token_id=3)):
        model.zero_grad()
        loss, sums = forward.loss(batch, FACTORS)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        results.append(([float(v) for v in sums.values()], gradient.clone()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert min(results[0][0]) > 0.1
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


def test_sums_equal_each_row_run_alone_through_the_plain_model(tiny_llama: LlamaForCausalLM) -> None:
    model = adapted(tiny_llama)
    loss, sums = Forward(model, TERMS, torch.float32, chunk_size=100).loss(collate_packed(rows()), FACTORS)
    expected = {"task_cross_entropy": 0.0, "replay_cross_entropy": 0.0, "replay_kl_to_base": 0.0}
    with torch.no_grad():
        for row in rows():
            ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
            places = np.flatnonzero(row.supervised) - 1
            log_p = torch.log_softmax(model(ids).logits[0, places].float(), -1)
            targets = ids[0, places + 1]
            expected[f"{row.source}_cross_entropy"] -= float(log_p[range(len(places)), targets].sum())
            if row.source == "replay":
                with model.disable_adapter():
                    log_b = torch.log_softmax(model(ids).logits[0, places].float(), -1)
                expected["replay_kl_to_base"] += float((log_b.exp() * (log_b - log_p)).sum())
    assert {name: float(value) for name, value in sums.items()} == pytest.approx(expected, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(sum(FACTORS[name] * expected[name] for name in expected), rel=1e-5)


def test_the_kl_is_zero_where_the_adapter_does_nothing(tiny_llama: LlamaForCausalLM) -> None:
    model = add_lora(tiny_llama, LoraConfig(r=4, target_modules="all-linear"), seed=1)
    _, sums = Forward(model, [KLToBase()], torch.float32, chunk_size=100).loss(collate_packed(rows()), FACTORS)
    assert float(sums["replay_kl_to_base"]) == pytest.approx(0.0, abs=1e-5)


def test_task_loss_counts_all_targets_and_leaves_the_mode(tiny_llama: LlamaForCausalLM) -> None:
    model = adapted(tiny_llama).train()
    forward = Forward(model, TERMS, torch.float32, chunk_size=3)
    batch = collate_packed(rows())
    total = forward.task_loss([batch])
    assert float(forward.task_loss([batch, batch])) == pytest.approx(2 * float(total), rel=1e-6)
    _, sums = forward.loss(batch, FACTORS)
    assert float(total) == pytest.approx(float(sums["task_cross_entropy"] + sums["replay_cross_entropy"]), rel=1e-5)
    assert model.training
    assert not total.requires_grad


def test_chunks_are_small_on_a_processor(tiny_llama: LlamaForCausalLM) -> None:
    model = adapted(tiny_llama)
    assert Forward(model, TERMS, torch.float32).chunk_size == 256
    assert Forward(model, TERMS, torch.float32, chunk_size=7).chunk_size == 7


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_base_before_the_model_takes_no_gradient_away_in_bf16(
    tiny_llama: LlamaForCausalLM, checkpointing: bool
) -> None:
    """Autocast keeps the weights that it has cast: cast without gradient, by the base's pass or by checkpointing's
    forward pass, they would have none."""
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    if checkpointing:
        tiny_llama.gradient_checkpointing_enable({"use_reentrant": True})
        tiny_llama.enable_input_require_grads()
    model = add_lora(tiny_llama, lora, seed=1).train()
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        Forward(model, TERMS, dtype).loss(collate_packed(rows()), FACTORS)[0].backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
        gradients.append(torch.cat([p.grad.flatten().float() for p in trained if p.grad is not None]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 0.05


def test_the_adapter_is_switched_once_for_all_micro_batches(
    tiny_llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each switch visits every module, which on a GPU costs more than the base's pass over a few rows."""
    forward = Forward(adapted(tiny_llama), TERMS, torch.float32, chunk_size=4)
    batches = [collate_packed(rows()[:2]), collate_packed(rows()[1:2]), collate_packed(rows()[2:])]
    expected = [floats(forward.loss(batch, FACTORS)[1]) for batch in batches]
    switched: list[bool] = []
    monkeypatch.setattr("grsap.training.forward.adapter_off", lambda model: switched.append(True) or adapter_off(model))
    references = forward.references(batches)
    assert [{name: len(states) for name, states in each.items()} for each in references] == [
        {"replay": 4},
        {},
        {"replay": 3},
    ]
    for batch, reference, sums in zip(batches, references, expected, strict=True):
        assert floats(forward.loss(batch, FACTORS, reference)[1]) == pytest.approx(sums, rel=1e-6)
    assert switched == [True]
