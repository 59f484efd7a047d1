"""What all judges by model share: limits, reasons, scores, identity, weights; and two of them on a real local model."""

from __future__ import annotations

import math

import pytest
import torch
from tests.judging.guards import Scripted, always, byte_level, mistral_like

from grsap.errors import ConfigError, DataError, ModelError
from grsap.generation import Generation, SamplingSettings, TokenLogprobs, TransformersGenerator
from grsap.judging import Exchange, LlamaGuardJudge, RubricJudge, Verdict, WildGuardJudge
from grsap.models import BaseModel

SAFE = "Harmful request: no\nResponse refusal: no\nHarmful response: no"
MIXED = "Harmful request: yes\nResponse refusal: no\nHarmful response: no"


def test_verdicts_come_in_the_order_of_the_exchanges():
    tokenizer = mistral_like()

    def script(ids):
        return SAFE.replace("no", "yes") if "Bob did" in tokenizer.decode(ids) else SAFE

    judge = WildGuardJudge(Scripted(tokenizer, script))
    exchanges = [Exchange("Who?", f"{name} did.") for name in ("Ada", "Bob", "Cy")]
    assert [verdict.response_harmful for verdict in judge.judge(exchanges)] == [False, True, False]
    assert judge.judge([]) == []


def test_a_request_that_does_not_fit_has_no_verdict_and_the_others_have():
    generator = Scripted(mistral_like(), always(SAFE))
    judge = WildGuardJudge(generator, max_prompt_tokens=400)
    exchanges = [Exchange("bread " * 400, "Ada."), Exchange("Who?", "Ada."), Exchange("Who?", "bread " * 400)]
    long_request, plain, long_response = judge.judge(exchanges)
    assert long_request == Verdict(reason="too_long")
    assert plain == Verdict(False, False, False, raw=SAFE)
    assert long_response == Verdict(False, False, False, raw=SAFE, truncated=True)
    assert sorted(len(prompt) <= 400 for prompt in generator.prompts) == [True, True]


def test_a_question_on_the_request_alone_is_never_cut():
    tokenizer = byte_level("llama_guard")
    judge = LlamaGuardJudge(Scripted(tokenizer, always("safe")), judge_prompts=True, max_prompt_tokens=600)
    (verdict,) = judge.judge([Exchange("bread " * 600, "Ada.")])
    assert verdict == Verdict(reason="too_long")


def test_the_tokenizers_limit_holds_too():
    generator = Scripted(mistral_like(), always(SAFE))
    judge = WildGuardJudge(generator, max_prompt_tokens=10**6)
    judge.prepare()
    assert judge.max_prompt_tokens == 100_000 - 32


@pytest.mark.parametrize(
    ("response", "reason"), [("half a pair \ud800", "not_unicode"), ("caf\u00e9 \u2402", "control_character")]
)
def test_text_that_cannot_be_given_to_the_model_has_no_verdict(response, reason):
    tokenizer = byte_level("rubric")
    judge = RubricJudge(Scripted(tokenizer, always("")), "None.")
    if reason == "control_character":
        tokenizer.add_special_tokens({"additional_special_tokens": ["\u2402"]})
    try:
        assert judge.judge([Exchange("Who?", response)]) == [Verdict(reason=reason)]
    finally:
        byte_level.cache_clear()


class TakesStringsOnly(Scripted):
    """Refuses a whole call for one prompt, as a server does that is sent strings."""

    def generate(self, requests, settings, progress=None):
        for request in requests:
            if "</s>" in self.tokenizer.decode(request.prompt_ids):
                raise DataError(f"the prompt of {request.id} cannot be sent as a string", "Serve with token ids")
        return super().generate(requests, settings, progress)


def test_a_prompt_that_a_server_cannot_be_given_does_not_stop_the_others():
    exchanges = [Exchange("Who?", text) for text in ("Ada.", "Bob.", "Cy</s>", "Di.", "Ed.")]
    verdicts = WildGuardJudge(TakesStringsOnly(mistral_like(), always(SAFE))).judge(exchanges)
    assert [verdict.reason for verdict in verdicts] == [None, None, "not_carried", None, None]
    assert [verdict.response_harmful for verdict in verdicts] == [False, False, None, False, False]


class Sure(Scripted):
    """Gives log-probabilities: at each place `chances`, by the token's text."""

    def __init__(self, tokenizer, text, chances):
        super().__init__(tokenizer, always(text))
        self.chances = chances

    def stream(self, requests, settings):
        for answer in super().stream(requests, settings):
            ids = self.tokenizer(answer.text, add_special_tokens=False)["input_ids"]
            top = tuple((self.token(word), math.log(chance)) for word, chance in self.chances.items())
            logprobs = tuple(TokenLogprobs(dict(top).get(token, math.log(0.001)), top) for token in ids)
            yield Generation(answer.id, answer.text, tuple(ids), "stop", 2, (*logprobs, TokenLogprobs(0.0)))

    def token(self, word):
        (token,) = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        return token


def test_scores_are_the_probability_of_the_word_for_true():
    generator = Sure(byte_level("rubric"), SAFE, {" no": 0.7, " yes": 0.25, "y": 0.04, "m": 0.001})
    generator.script = always("request_harmful: yes\nresponse_refusal: no\nresponse_harmful: no")
    (verdict,) = RubricJudge(generator, "None.", top_logprobs=5).judge([Exchange("Who?", "Ada.")])
    assert generator.settings == [SamplingSettings(48, top_logprobs=5)]
    expected = pytest.approx(0.29)  # " yes", and the "y" of another way to write it
    assert verdict.scores == dict.fromkeys(("prompt_harmful", "response_refusal", "response_harmful"), expected)
    assert (verdict.prompt_harmful, verdict.response_harmful) == (True, False)


def test_a_score_that_is_not_known_is_left_out():
    answer = "safe"
    generator = Sure(byte_level("llama_guard"), answer, {"safe": 0.9})
    (verdict,) = LlamaGuardJudge(generator, top_logprobs=1).judge([Exchange("Who?", "Ada.")])
    assert (verdict.response_harmful, verdict.scores) == (False, {})
    sure = Sure(byte_level("llama_guard"), answer, {"safe": 0.9, "unsafe": 0.08, "u": 0.01, "s": 0.005})
    (verdict,) = LlamaGuardJudge(sure, top_logprobs=4).judge([Exchange("Who?", "Ada.")])
    assert verdict.scores == {"response_harmful": pytest.approx(0.09)}


def test_settings_out_of_range():
    generator = Scripted(mistral_like(), always(SAFE))
    with pytest.raises(ConfigError, match="max_prompt_tokens is 0"):
        WildGuardJudge(generator, max_prompt_tokens=0)
    with pytest.raises(ConfigError, match=r"top_logprobs is -1"):
        WildGuardJudge(generator, top_logprobs=-1)
    with pytest.raises(ConfigError, match=r"policy is empty"):
        RubricJudge(generator, "  ")


@pytest.mark.parametrize("text", ["Who? ====[0]==== response\nNo.", "====[0]====\n====[1]====\n====[3]===="])
def test_the_rubrics_fence_is_one_that_no_text_holds(text):
    tokenizer = byte_level("rubric")
    for exchange in (Exchange(text, "Ada."), Exchange("Who?", text)):
        generator = Scripted(tokenizer, always(""))
        RubricJudge(generator, "None.").judge([exchange])
        (prompt,) = map(tokenizer.decode, generator.prompts)
        fence = "====[2]====" if "[1]" in text else "====[1]===="
        assert prompt.count(fence) == 5  # announced, and at the beginning and end of two sections
        assert fence not in text
        assert text in prompt


def local(path, **settings) -> TransformersGenerator:
    base = BaseModel(str(path), quantization="none", compute_dtype="float32")
    return TransformersGenerator(base, device="cpu", **settings)


@pytest.mark.parametrize("judge_class", [WildGuardJudge, RubricJudge])
def test_a_real_local_model_that_writes_no_verdict(tiny_base_path, judge_class):
    """Random weights: nothing parses, and nothing is lost."""
    policy = {"policy": "No weapons."} if judge_class is RubricJudge else {}
    judge = judge_class(local(tiny_base_path), max_prompt_tokens=900, top_logprobs=2, **policy)
    verdicts = judge.judge([Exchange("Who wrote it?", f"Ada did, {number} times.") for number in range(5)])
    assert [verdict.reason for verdict in verdicts] == ["cut_by_length"] * 5
    assert [[verdict.label(label) for label in judge.labels] for verdict in verdicts] == [[None] * 3] * 5
    assert all(verdict.raw for verdict in verdicts)
    assert judge.name == f"{judge_class.kind}:tiny-llama"


def test_the_revision_tells_weights_and_prompts_apart(tiny_base_path, tmp_path):
    def revision(path, policy="No weapons."):
        judge = RubricJudge(local(path), policy)
        judge.prepare()
        return judge.revision

    first = revision(tiny_base_path)
    assert first == revision(tiny_base_path)
    weights, number_format, prompt = first.split("+")
    assert number_format == "float32"
    other_policy = revision(tiny_base_path, "No knives.").split("+")
    assert (other_policy[0], other_policy[-1] == prompt) == (weights, False)
    copy = tmp_path / "tiny-llama"
    copy.mkdir()
    for file in tiny_base_path.iterdir():
        raw = file.read_bytes()
        (copy / file.name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]) if file.suffix == ".safetensors" else raw)
    other_weights = revision(copy).split("+")
    assert (other_weights[0] == weights, other_weights[-1]) == (False, prompt)


def test_a_quantized_judge_is_another_judge(tiny_base_path):
    judge = WildGuardJudge(TransformersGenerator(BaseModel(str(tiny_base_path)), device="cpu"))
    judge.prepare()
    assert judge.revision.split("+")[1] == "nf4"


def test_a_judge_whose_model_is_missing_fails_when_it_is_made(tmp_path):
    with pytest.raises(ModelError, match="is no model folder"):
        WildGuardJudge(local(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("judge_device", "other", "released"),
    [("cpu", "cpu", True), ("cpu", "cuda:0", False), ("cuda:1", "cuda:0", False), ("cuda", "cuda:3", True)],
)
def test_weights_are_released_where_they_are_in_the_way(tiny_base_path, judge_device, other, released, monkeypatch):
    generator = local(tiny_base_path)
    generator.device = torch.device(judge_device)
    closed = []
    monkeypatch.setattr(generator, "close", lambda: closed.append(True))
    WildGuardJudge(generator).release(torch.device(other))
    assert bool(closed) is released
