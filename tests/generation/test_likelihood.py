"""Likelihoods of given continuations, against a loop of single forward passes and against what was generated."""

import math

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from grsap.errors import ConfigError, DataError, ModelError
from grsap.generation import (
    GenerationRequest,
    Generator,
    LikelihoodScorer,
    SamplingSettings,
    ScoringRequest,
    TransformersGenerator,
    likelihood,
    score_in_pieces,
)
from grsap.models import BaseModel

REQUESTS = [
    ScoringRequest("short", (5, 6, 7), (8,)),
    ScoringRequest("long", tuple(range(20, 60)), tuple(range(100, 130))),
    ScoringRequest("one", (9,), (10, 11, 12, 13)),
    ScoringRequest("same ids, other cut", (5, 6), (7, 8)),
]


def one_by_one(model, request):
    """The plain way: one forward pass, all logits, softmax in float64."""
    ids = torch.tensor([request.prompt_ids + request.continuation_ids])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    places = range(len(request.prompt_ids) - 1, ids.shape[1] - 1)
    return [float(logits[place].log_softmax(-1)[ids[0, place + 1]]) for place in places]


@pytest.mark.parametrize("max_batch_tokens", [1, 64, 8192])
@pytest.mark.parametrize("with_adapter", [False, True])
def test_equals_single_passes(tiny_llama, max_batch_tokens, with_adapter):
    model = tiny_llama
    if with_adapter:
        torch.manual_seed(0)
        settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        model = get_peft_model(tiny_llama, settings).eval()
    found = {each.id: each for each in LikelihoodScorer(model, 3, max_batch_tokens).stream(REQUESTS)}
    assert set(found) == {request.id for request in REQUESTS}
    for request in REQUESTS:
        assert found[request.id].logprobs == pytest.approx(one_by_one(model, request), abs=2e-5)
        assert found[request.id].total == pytest.approx(sum(one_by_one(model, request)), abs=1e-4)


def test_all_continuations_of_one_token_sum_to_one(tiny_llama):
    requests = [ScoringRequest(str(token), (5, 6, 7), (token,)) for token in range(tiny_llama.config.vocab_size)]
    total = math.fsum(math.exp(each.total) for each in LikelihoodScorer(tiny_llama, 3).stream(requests))
    assert total == pytest.approx(1.0, abs=1e-5)


def test_leaves_the_model_in_its_mode(tiny_llama):
    tiny_llama.train()
    list(LikelihoodScorer(tiny_llama, 3).stream(REQUESTS))
    assert tiny_llama.training


def test_agrees_with_what_generation_says(tiny_base_path):
    generator = TransformersGenerator(BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32"))
    prompt = tuple(generator.template.prompt_ids([{"role": "user", "content": "two and two"}]))
    (answer,) = generator.generate([GenerationRequest("a", prompt, 1)], SamplingSettings(8, 1.0, top_logprobs=0))
    ids = answer.token_ids if answer.stop_token_id is None else (*answer.token_ids, answer.stop_token_id)
    (found,) = generator.likelihoods([ScoringRequest("a", prompt, ids)])
    assert found.logprobs == pytest.approx([each.logprob for each in answer.logprobs], abs=2e-4)
    assert list(generator.likelihoods([])) == []


@pytest.mark.parametrize(("prompt", "continuation", "empty"), [((), (1,), "prompt"), ((1,), (), "continuation")])
def test_an_empty_part_is_named(tiny_llama, prompt, continuation, empty):
    with pytest.raises(DataError, match=f"request x has no {empty} to score"):
        list(LikelihoodScorer(tiny_llama, 3).stream([ScoringRequest("x", prompt, continuation)]))


def test_what_cannot_be_done_is_said_before_work(tiny_llama, tiny_tokenizer):
    class Silent(Generator):
        tokenizer = tiny_tokenizer
        template = None

        def stream(self, requests, settings):
            raise AssertionError

    with pytest.raises(ConfigError, match="Silent gives no log-probabilities of given texts"):
        Silent().likelihoods(REQUESTS)
    with pytest.raises(ConfigError, match="max_batch_tokens is 0"):
        LikelihoodScorer(tiny_llama, 3, 0)


def test_results_are_the_same_whichever_were_lost(tiny_llama, monkeypatch):
    """A row's rounding depends on its batch: batches must not depend on what is missing."""
    monkeypatch.setattr(likelihood, "PIECE", 8)
    drawn = np.random.default_rng(0)
    requests = [
        ScoringRequest(f"{number:02}", tuple(drawn.integers(5, 300, length)), tuple(drawn.integers(5, 300, 3)))
        for number, length in enumerate(drawn.integers(1, 60, 20))
    ]
    scored = []

    def scorer(piece):
        scored.append(len(piece))
        return LikelihoodScorer(tiny_llama, 3).stream(piece)

    whole = {each.id: each for piece in score_in_pieces(scorer, requests) for each in piece}
    assert scored == [8, 8, 4]
    longest_first = sorted(whole, key=lambda name: (-len(requests[int(name)].prompt_ids), name))
    lost = {longest_first[3], longest_first[17]}  # of the first piece and of the last
    scored.clear()
    again = [each for piece in score_in_pieces(scorer, requests, whole.keys() - lost) for each in piece]
    assert scored == [8, 4]
    assert {each.id: each for each in again} == {name: whole[name] for name in lost}


def test_a_model_that_overflows_is_told(tiny_llama):
    with torch.no_grad():
        tiny_llama.get_output_embeddings().weight[0] = float("inf")
    with pytest.raises(ModelError, match="log-probabilities of request long are not finite"):
        list(LikelihoodScorer(tiny_llama, 3, 1).stream(REQUESTS))
