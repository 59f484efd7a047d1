"""`OpenAIGenerator` against a real HTTP server: what it sends, what it makes of answers, what it refuses."""

from __future__ import annotations

import math
import os
import sys
import time

import pytest
from tests.generation.completions_server import END, Body, Reply, error, like_vllm, requests, serving

from grsap.errors import ConfigError, DataError, MissingPackageError
from grsap.generation import GenerationRequest, OpenAIGenerator, SamplingSettings, ServerSettings

SETTINGS = SamplingSettings(max_new_tokens=8)


def takes_strings_only(body: Body) -> Reply:
    """`transformers serve` in small."""
    if unknown := body.keys() - {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop"}:
        return Reply({"detail": f"Unexpected fields in the request: {unknown}"}, 422)
    if not isinstance(body["prompt"], str):
        return Reply({"detail": "prompt must be a string."}, 400)
    choice = {"index": 0, "text": "The sky is blue", "finish_reason": "stop"}
    return Reply({"choices": [choice], "usage": {"completion_tokens": 5}})


def test_ids_go_in_and_come_out(make, tiny_tokenizer):
    with serving(like_vllm) as server:
        answers = make(server).generate(requests(20), SETTINGS)
    assert [answer.id for answer in answers] == [f"r{n}" for n in range(20)]
    assert [answer.token_ids for answer in answers] == [(105 + n, 104 + n, 103 + n) for n in range(20)]
    assert [answer.text for answer in answers] == [tiny_tokenizer.decode(answer.token_ids) for answer in answers]
    assert {(a.finish_reason, a.stop_token_id, a.logprobs, a.reencoded) for a in answers} == {
        ("stop", END, None, False)
    }
    assert len(server.bodies) == 21  # one to find out, one each


def test_what_is_sent(make, tiny_tokenizer):
    with serving(like_vllm) as server:
        make(server).generate(requests(2), SamplingSettings(8, temperature=0.7, top_p=0.9))
    probe, *sent = server.bodies
    extensions = {
        "stop_token_ids": [END],
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    assert probe == {
        "path": "/v1/completions",
        "model": "tiny",
        "prompt": tiny_tokenizer("Hello")["input_ids"],
        "max_tokens": 1,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        **extensions,
    }
    assert sorted(sent, key=lambda body: body["seed"]) == [
        {
            "path": "/v1/completions",
            "model": "tiny",
            "prompt": list(range(100 + n, 106 + n)),
            "max_tokens": 8,
            "temperature": 0.7,
            "top_p": 0.9,
            "seed": n,
            **extensions,
        }
        for n in range(2)
    ]


def test_the_server_is_asked_once_what_it_understands(make):
    with serving(like_vllm) as server:
        generator = make(server)
        for _ in range(3):
            generator.generate(requests(2), SETTINGS)
        assert len(server.bodies) == 1 + 3 * 2
        generator.close()
        generator.generate(requests(1), SETTINGS)
    assert len(server.bodies) == 1 + 3 * 2 + 2


def test_no_request_no_call(make):
    with serving(like_vllm) as server:
        assert make(server).generate([], SETTINGS) == []
    assert server.bodies == []


def test_cut_answers_have_no_stop_token(make):
    with serving(like_vllm) as server:
        (answer,) = make(server).generate(requests(1), SamplingSettings(2))
    assert (answer.token_ids, answer.finish_reason, answer.stop_token_id) == ((105, 104), "length", None)


def test_logprobs_by_token_id(make):
    with serving(like_vllm) as server:
        (two,) = make(server).generate(requests(1), SamplingSettings(8, top_logprobs=2))
        (none,) = make(server).generate(requests(1), SamplingSettings(8, top_logprobs=0))
    # The token chosen stands in the list too, and is not one of the two most likely.
    assert [entry.top for entry in two.logprobs] == [((0, -0.25), (1, -0.75))] * 4
    assert [entry.logprob for entry in two.logprobs] == [-9.0] * 4
    assert [(entry.logprob, entry.top) for entry in none.logprobs] == [(-9.0, ())] * 4


def test_answers_come_as_they_are_ready(make):
    def slow_first(body):
        reply = like_vllm(body)
        reply.delay_s = 0.4 if body["seed"] == 0 and body["max_tokens"] > 1 else 0.0
        return reply

    with serving(slow_first) as server:
        order = [answer.id for answer in make(server).stream(requests(5), SETTINGS)]
    assert sorted(order) == [f"r{n}" for n in range(5)]
    assert order[-1] == "r0"


def test_no_more_than_the_concurrency_is_in_flight(make):
    def slow(body):
        reply = like_vllm(body)
        reply.delay_s = 0.03
        return reply

    with serving(slow) as server:
        make(server).generate(requests(20), SETTINGS)
    assert server.num_in_flight_max == 4


def test_a_stream_that_is_left_asks_no_more(make):
    def slow(body):
        reply = like_vllm(body)
        reply.delay_s = 0.05
        return reply

    with serving(slow) as server:
        stream = make(server).stream(requests(200), SETTINGS)
        next(stream)
        stream.close()
        time.sleep(0.1)
        num = len(server.bodies)
        time.sleep(0.3)
        assert len(server.bodies) == num < 20


def test_the_rate_is_kept(make):
    settings = ServerSettings(concurrency=8, max_requests_per_minute=1200)  # one in 50 ms
    with serving(like_vllm) as server:
        start = time.monotonic()
        make(server, settings).generate(requests(8), SETTINGS)
        assert time.monotonic() - start >= 8 * 0.05  # with the one to find out: nine attempts, eight pauses
    assert len(server.bodies) == 9


def text_requests(tokenizer, *texts):
    return [GenerationRequest(f"t{n}", tuple(tokenizer(text)["input_ids"]), n) for n, text in enumerate(texts)]


def test_strings_where_the_server_takes_no_ids(make, tiny_tokenizer):
    asked = text_requests(tiny_tokenizer, "<|im_start|>user\ntwo and two<|im_end|>\n", "key")
    with serving(takes_strings_only) as server:
        answers = make(server).generate(asked, SETTINGS)
    ids = tuple(tiny_tokenizer("The sky is blue")["input_ids"])
    assert [(a.text, a.token_ids, a.finish_reason, a.stop_token_id, a.reencoded) for a in answers] == [
        ("The sky is blue", ids, "stop", None, True)
    ] * 2
    # Three to find out: with vLLM's fields, without, as a string.
    assert [type(body["prompt"]) for body in server.bodies] == [list, list, str, str, str]
    assert {body["prompt"] for body in server.bodies[3:]} == {"<|im_start|>user\ntwo and two<|im_end|>\n", "key"}
    assert [body["stop"] for body in server.bodies[3:]] == [["<|im_end|>"]] * 2


def test_a_prompt_that_no_string_carries_is_refused_before_any_work(make, tiny_tokenizer):
    forged = tuple(token for letter in "<|im_end|>" for token in tiny_tokenizer(letter)["input_ids"])
    assert END not in forged
    asked = [*text_requests(tiny_tokenizer, "key"), GenerationRequest("forged", forged)]
    with serving(takes_strings_only) as server, pytest.raises(DataError, match="the prompt of request forged does not"):
        make(server).generate(asked, SETTINGS)
    assert [body["max_tokens"] for body in server.bodies] == [1, 1, 1]


def test_logprobs_of_strings_are_refused(make, tiny_tokenizer):
    with serving(takes_strings_only) as server, pytest.raises(ConfigError, match="returns answers as strings"):
        make(server).generate(text_requests(tiny_tokenizer, "key"), SamplingSettings(4, top_logprobs=0))
    assert len(server.bodies) == 3


def test_prompt_format_ids_takes_no_strings(make, tiny_tokenizer):
    with serving(takes_strings_only) as server, pytest.raises(ConfigError, match=r"refuses .*prompt must be a string"):
        make(server, prompt_format="ids").generate(text_requests(tiny_tokenizer, "key"), SETTINGS)
    assert len(server.bodies) == 2


def test_prompt_format_text_sends_no_ids(make, tiny_tokenizer):
    with serving(takes_strings_only) as server:
        make(server, prompt_format="text").generate(text_requests(tiny_tokenizer, "key"), SETTINGS)
    assert [body["prompt"] for body in server.bodies] == ["Hello", "key"]


def test_ids_in_and_strings_out(make, tiny_tokenizer):
    """SGLang, llama.cpp: they take ids, ignore what they do not know, and answer in strings."""

    def answer(body):
        return Reply({"choices": [{"text": "The sky<|im_end|>", "finish_reason": "stop"}]})

    with serving(answer) as server:
        (got,) = make(server).generate(requests(1), SETTINGS)
    assert (got.text, got.reencoded, got.token_ids) == ("The sky", True, tuple(tiny_tokenizer("The sky")["input_ids"]))
    assert [type(body["prompt"]) for body in server.bodies] == [list, list]
    assert (server.bodies[0].get("stop"), server.bodies[1]["stop"]) == (None, ["<|im_end|>"])


def test_a_server_that_reads_ids_as_something_else_gets_strings(make, tiny_tokenizer):
    """Some turn a list into its printed form: the count of the prompt's tokens gives it away."""

    def answer(body):
        num = 999 if isinstance(body["prompt"], list) else len(tiny_tokenizer(body["prompt"])["input_ids"])
        return Reply({"choices": [{"text": "ok", "finish_reason": "stop"}], "usage": {"prompt_tokens": num}})

    with serving(answer) as server:
        make(server).generate(text_requests(tiny_tokenizer, "key"), SETTINGS)
    assert [type(body["prompt"]) for body in server.bodies] == [list, list, str, str]


def test_another_tokenizer_at_the_server_is_found_out(make, tiny_tokenizer):
    def answer(body):
        return Reply({"choices": [{"text": "ok", "finish_reason": "stop"}], "usage": {"prompt_tokens": 77}})

    with serving(answer) as server, pytest.raises(ConfigError, match=r"as 77.*Give the tokenizer of the served"):
        make(server).generate(text_requests(tiny_tokenizer, "key"), SETTINGS)


@pytest.mark.parametrize(
    ("reason", "num_tokens", "expected"),
    [
        ("stop", 3, "stop"),
        ("length", 8, "length"),
        ("eos_token", 3, "stop"),
        (None, 3, "stop"),
        (None, 8, "length"),
        ("", 8, "length"),
    ],
)
def test_finish_reasons(make, reason, num_tokens, expected):
    def answer(body):
        return Reply({"choices": [{"text": "x", "finish_reason": reason}], "usage": {"completion_tokens": num_tokens}})

    with serving(answer) as server:
        (got,) = make(server).generate(requests(1), SETTINGS)
    assert got.finish_reason == expected


@pytest.mark.parametrize(
    ("text", "thought", "joined"), [("Ada.", "Who?", "<think>Who?</think>Ada."), (None, "Wh", "<think>Wh")]
)
def test_a_thought_that_the_server_separates_stays_a_thought(make, text, thought, joined):
    def answer(body):
        return Reply({"choices": [{"text": text, "reasoning_content": thought, "finish_reason": "stop"}]})

    with serving(answer) as server:
        (found,) = make(server).generate(requests(1), SETTINGS)
    assert found.text == joined


def test_half_a_surrogate_pair_becomes_a_replacement_character(make):
    def answer(body):
        return Reply({"choices": [{"text": "ab\ud83d", "finish_reason": "length"}]})

    with serving(answer) as server:
        (got,) = make(server).generate(requests(1), SETTINGS)
    assert got.text == "ab\ufffd"


def test_null_fields_are_no_crash(make):
    """An answer of nulls but for its ids is an answer."""

    def answer(body):
        choice = {"index": None, "text": None, "finish_reason": None, "logprobs": None, "token_ids": [105, END]}
        return Reply({"id": None, "choices": [choice], "usage": None})

    with serving(answer) as server:
        (got,) = make(server).generate(requests(1), SETTINGS)
    assert (got.token_ids, got.finish_reason, got.stop_token_id) == ((105,), "stop", END)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(400, "Change the setting"), (401, "server.api_key_env"), (403, "server.api_key_env"), (404, "name of the model")],
)
def test_a_refusal_is_the_users_error_at_once(make, status, remedy):
    def answer(body):
        return error(status, "you shall\nnot pass") if body["max_tokens"] > 1 else like_vllm(body)

    with serving(answer) as server, pytest.raises(ConfigError, match=rf"\({status}\): you shall not pass.*{remedy}"):
        make(server).generate(requests(1), SETTINGS)
    # One to find out; where the refusal may be of one prompt, a plain one with the same settings.
    assert len(server.bodies) == (3 if status in {400, 403} else 2)


def test_the_key_comes_from_the_environment_alone(make, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-this-server")
    with serving(like_vllm) as server:
        make(server).generate(requests(1), SETTINGS)
        assert {seen["authorization"] for seen in server.headers_seen} == {"Bearer none"}
        monkeypatch.setenv("MY_KEY", "sesame")
        generator = make(server, ServerSettings(api_key_env="MY_KEY"))
        generator.generate(requests(1), SETTINGS)
    assert server.headers_seen[-1]["authorization"] == "Bearer sesame"
    assert "sesame" not in repr(generator.identity()) + repr(vars(generator))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"concurrency": 0}, "concurrency is 0"),
        ({"concurrency": 1001}, "concurrency is 1001"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"max_requests_per_minute": -1}, "max_requests_per_minute is -1"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"give_up_after_s": math.nan}, "give_up_after_s is nan"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE, which is not set"),
    ],
)
def test_settings_out_of_range(source, settings, named):
    assert "NOT_SET_ANYWHERE" not in os.environ
    with pytest.raises(ConfigError, match=named):
        OpenAIGenerator("http://127.0.0.1:1/v1", "tiny", source, ServerSettings(**settings))


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("127.0.0.1:8000", "is no address"),
        ("http://me:secret@host/v1", "host host.*server.api_key_env"),
        ("http://host/v1?key=secret", "server.api_key_env"),
    ],
)
def test_addresses(source, address, named):
    with pytest.raises(ConfigError, match=named) as caught:
        OpenAIGenerator(address, "tiny", source)
    assert "secret" not in str(caught.value)


def test_identity(source, tiny_base_path):
    one = OpenAIGenerator("http://one/v1", "tiny", source).identity()
    assert one["backend"] == "OpenAIGenerator"
    assert one["model"] == "tiny"
    assert one["tokenizer"]["path"] == str(tiny_base_path)
    assert OpenAIGenerator("http://two/v1/", "tiny", source).identity() == one
    assert OpenAIGenerator("http://one/v1", "other", source).identity() != one
    served_anew = OpenAIGenerator("http://one/v1", "tiny", source, revision="2")
    assert served_anew.weights_revision() == "2"
    assert served_anew.content_identity() != OpenAIGenerator("http://one/v1", "tiny", source).content_identity()


def test_the_extra_is_named(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingPackageError, match="extra `server`"):
        OpenAIGenerator("http://127.0.0.1:1/v1", "tiny", source).generate(requests(1), SETTINGS)
