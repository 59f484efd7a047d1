"""The bound of Theorem 1's second term: on a tiny model, whose true KL is a sum over all responses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.similarity.conftest import make_records

from grsap.errors import DataError
from grsap.generation import LikelihoodScorer, ScoringRequest, TransformersGenerator
from grsap.models import BaseModel
from grsap.result_log import ResultLog
from grsap.similarity import ResponseLikelihoods, response_kl_bound
from grsap.similarity.response_kl import response_likelihoods

PROMPTS = [(1, 40, 41, 42), (1, 77, 78), (1, 300, 5, 9, 11)]


def enumerated(model: torch.nn.Module, shares: list[dict[int, float]]) -> tuple[float, float]:
    """(expected KL, entropy of the reference) over all responses of one token, by the definition."""
    kl = entropy = 0.0
    for prompt, reference in zip(PROMPTS, shares, strict=True):
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
        kl += sum(p * (np.log(p) - float(logprobs[y])) for y, p in reference.items()) / len(PROMPTS)
        entropy -= sum(p * np.log(p) for p in reference.values()) / len(PROMPTS)
    return kl, entropy


def scored(model: torch.nn.Module, shares: list[dict[int, float]], num: int) -> ResponseLikelihoods:
    """Draw `num` pairs from the reference, and score them with the model."""
    random = np.random.default_rng(0)
    requests = []
    for n in range(num):
        place = n % len(PROMPTS)
        tokens, weights = zip(*shares[place].items(), strict=True)
        requests.append(ScoringRequest(str(n), PROMPTS[place], (int(random.choice(tokens, p=weights)),)))
    found = list(LikelihoodScorer(model, 3).stream(requests))
    return ResponseLikelihoods(np.array([-each.total for each in found]), np.ones(num, np.int64))


def test_bounds_the_enumerated_kl_and_exceeds_it_by_the_entropy(tiny_llama) -> None:
    shares = [{5: 0.5, 6: 0.3, 7: 0.2}, {8: 0.9, 9: 0.1}, {10: 0.25, 11: 0.25, 12: 0.25, 13: 0.25}]
    kl, entropy = enumerated(tiny_llama, shares)
    bound = response_kl_bound(scored(tiny_llama, shares, 1500))
    assert kl > 1.0
    assert entropy > 0.5
    assert bound.low > kl  # the bound is no estimate of the KL: it is above it by what is not known of the reference
    assert bound.value == pytest.approx(kl + entropy, abs=0.1)
    assert bound.low < kl + entropy < bound.high


def test_is_the_kl_where_each_query_has_one_answer(tiny_llama) -> None:
    shares = [{5: 1.0}, {8: 1.0}, {10: 1.0}]
    kl, entropy = enumerated(tiny_llama, shares)
    assert entropy == 0
    assert response_kl_bound(scored(tiny_llama, shares, 3)).value == pytest.approx(kl, abs=1e-4)


def test_is_near_zero_for_a_model_that_is_sure_of_the_answer(tiny_llama) -> None:
    """The reference is the model's greedy answer; scaled logits give it a probability near 1."""
    tiny_llama.model.norm.weight.data *= 200
    with torch.no_grad():
        tokens = [int(tiny_llama(torch.tensor([prompt])).logits[0, -1].argmax()) for prompt in PROMPTS]
    bound = response_kl_bound(scored(tiny_llama, [{token: 1.0} for token in tokens], 30))
    assert 0 <= bound.value < 0.05


def test_numbers_by_hand() -> None:
    few = response_kl_bound(ResponseLikelihoods(np.array([2.0, 4.0, 12.0]), np.array([1, 2, 3])))
    assert (few.value, few.low, few.high) == (6.0, None, None)
    assert (few.value_per_token, few.low_per_token, few.high_per_token) == (3.0, None, None)
    bound = response_kl_bound(ResponseLikelihoods(np.array([2.0, 4.0, 12.0] * 40), np.array([1, 2, 3] * 40)))
    assert (bound.value, bound.value_per_token) == (6.0, 3.0)
    # The deviation of a row is sqrt(56 / 3) = 4.32; of 120 rows the mean's is .394; times 1.96.
    assert (bound.low, bound.high) == pytest.approx((5.23, 6.77), abs=0.12)
    assert bound.low_per_token is not None
    assert bound.high_per_token is not None
    assert bound.low_per_token < 3.0 < bound.high_per_token


def test_rows_that_are_equal_per_token_bound_nothing_per_token() -> None:
    alike = response_kl_bound(ResponseLikelihoods(np.array([3.0, 6.0, 9.0] * 40), np.array([1, 2, 3] * 40)))
    assert alike.value_per_token == pytest.approx(3.0)
    assert (alike.low_per_token, alike.high_per_token) == (None, None)
    assert alike.low is not None


@pytest.fixture
def model(tiny_base_path: Path) -> TransformersGenerator:
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")
    return TransformersGenerator(base, device="cpu")


def test_scores_the_answer_and_its_end_and_nothing_else(tmp_path: Path, model, tiny_llama) -> None:
    records = make_records(3, 0)
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        found = response_likelihoods(records, model, log, "rows")
    for record, nll, num_tokens in zip(records, found.nll, found.num_tokens, strict=True):
        prompt = model.template.prompt_ids(record.messages[:-1])
        answer = model.tokenizer(record.messages[-1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logprobs = tiny_llama(torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
        expected = -sum(float(logprobs[len(prompt) - 1 + n, token]) for n, token in enumerate(answer))
        assert num_tokens == len(answer)
        assert nll == pytest.approx(expected, abs=1e-3)


def test_scored_rows_are_not_scored_again(tmp_path: Path, model, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_records(6, 0)
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        first = response_likelihoods(records[:4], model, log, "rows")
    asked: list[str] = []
    plain = model.likelihoods
    monkeypatch.setattr(model, "likelihoods", lambda requests: asked.extend(r.id for r in requests) or plain(requests))
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        response_likelihoods(records[:4], model, log, "rows")
    assert asked == []
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        both = response_likelihoods(records, model, log, "rows")
        assert len(list(log.lines())) == 6
    assert len(asked) == 6  # one piece, of which two were missing
    assert both.nll[:4].tolist() == first.nll.tolist()
    model.max_batch_tokens = 77  # how fast, not what
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        response_likelihoods(records[:1], model, log, "rows")
        assert len(list(log.lines())) == 6
    monkeypatch.setitem(vars(model), "base_revision", "retrained")  # other weights in the same folder
    with ResultLog(tmp_path / "done.log", ("key",)) as log:
        response_likelihoods(records[:1], model, log, "rows")
        assert len(list(log.lines())) == 7


def test_a_row_that_the_template_rejects_is_named(tmp_path: Path, model, monkeypatch: pytest.MonkeyPatch) -> None:
    from grsap.text import ChatTemplate

    def refuse(self, messages, loss_on="assistant"):
        raise DataError("a message holds a control token", "Remove it")

    monkeypatch.setattr(ChatTemplate, "encode", refuse)
    log = ResultLog(tmp_path / "done.log", ("key",))
    with log, pytest.raises(DataError, match="row row-0: a message holds"):
        response_likelihoods(make_records(1, 0), model, log, "rows")
