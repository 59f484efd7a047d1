"""A prompt that a server will not answer while it answers others: unanswered with its reason, and no end of the run."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tests.generation.completions_server import Reply, error, like_vllm, requests, serving

from grsap.errors import BackendError, ConfigError
from grsap.generation import Generation, SamplingSettings, ServerSettings

SETTINGS = SamplingSettings(max_new_tokens=8)
FAST = ServerSettings(
    concurrency=2, timeout_s=30, max_retries=2, give_up_after_s=10, backoff_s=0.01, max_backoff_s=0.05
)


def of(body, *firsts):
    """Whether a request is one of those: the prompt of `r3` begins with 103."""
    return body["prompt"][0] in [100 + number for number in firsts]


def unanswered(number, because):
    return Generation(f"r{number}", "", (), "withheld", withheld_because=because)


@pytest.mark.parametrize("text", ["", "half of it"])
def test_a_content_filter(make, text):
    def answer(body):
        if of(body, 1):
            return Reply({"choices": [{"text": text, "token_ids": [105], "finish_reason": "content_filter"}]})
        return like_vllm(body)

    with serving(answer) as server:
        answers = make(server, FAST).generate(requests(4), SETTINGS)
    assert answers[1] == unanswered(1, "content_filter")
    assert [each.finish_reason for each in answers] == ["stop", "withheld", "stop", "stop"]
    assert len(server.bodies) == 1 + 4


@pytest.mark.parametrize("status", [400, 403, 413, 422, 451])
@pytest.mark.parametrize("alone", [False, True])
def test_a_refusal_of_one_prompt(make, status, alone):
    """Also of the first one, and where it is the last that is left: a plain prompt tells whose fault it is."""

    def answer(body):
        return error(status, "flagged\x1b[2J") if of(body, 0) else like_vllm(body)

    with serving(answer) as server:
        answers = make(server, FAST).generate(requests(1 if alone else 4), SETTINGS)
    assert answers[0] == unanswered(0, f"refused: flagged\ufffd[2J ({status})")
    assert {each.finish_reason for each in answers[1:]} <= {"stop"}


FAILURES = {
    "500": (error(500, "cannot do this one"), "status 500: cannot do this one"),
    "no JSON": (Reply("{not json"), "the answer is no JSON: "),
    "no choice": (Reply({"choices": []}), "the answer has no choices"),
    "dropped": (Reply(drop=True), "the connection broke"),
    "silent": (Reply(delay_s=5.0), "no answer within timeout_s of 0.5 s"),
    "broken off": (Reply({"choices": [{"token_ids": [105], "finish_reason": "abort"}]}), "with the reason 'abort'"),
}


@pytest.mark.parametrize(("reply", "told"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("alone", [False, True])
def test_a_prompt_that_always_fails(make, reply, told, alone):
    def answer(body):
        return reply if of(body, 0) else like_vllm(body)

    settings = replace(FAST, timeout_s=0.5) if reply.delay_s else FAST
    start = time.monotonic()
    with serving(answer) as server:
        answers = make(server, settings).generate(requests(1 if alone else 4), SETTINGS)
        # To find out, three attempts, one plain prompt to see whether others are served, and the others.
        assert len(server.bodies) == 1 + 3 + 1 + len(answers) - 1
    assert answers[0].finish_reason == "withheld"
    assert answers[0].withheld_because.startswith("failed: ")
    assert told in answers[0].withheld_because
    assert {each.finish_reason for each in answers[1:]} <= {"stop"}
    assert time.monotonic() - start < 8


def test_a_server_that_fails_on_all_prompts_is_waited_for(make):
    """No prompt is blamed: after `give_up_after_s` the run ends, and the next call asks again."""
    broken = []

    def answer(body):
        return error(500, "out of memory") if broken else like_vllm(body)

    settings = ServerSettings(
        concurrency=2, timeout_s=30, max_retries=1, give_up_after_s=1.0, backoff_s=0.01, max_backoff_s=0.1
    )
    with serving(answer) as server:
        generator = make(server, settings)
        assert len(generator.generate(requests(3), SETTINGS)) == 3
        broken.append(True)
        with pytest.raises(BackendError, match="has not answered for 1 s; last failure: status 500"):
            generator.generate(requests(3), SETTINGS)


def test_a_refusal_of_all_prompts_is_an_error_at_once(make):
    """A setting that the server does not take, such as too many tokens: no prompt's fault."""

    def answer(body):
        return error(400, "max_tokens is too large") if body["max_tokens"] > 1 else like_vllm(body)

    with serving(answer) as server, pytest.raises(ConfigError, match=r"refuses request r\d \(400\): max_tokens is too"):
        make(server, FAST).generate(requests(50), SETTINGS)
    assert len(server.bodies) < 10


@pytest.mark.parametrize("status", [401, 402, 404, 405])
def test_other_refusals_are_errors_at_once(make, status):
    def answer(body):
        return error(status, "no") if of(body, 0) else like_vllm(body)

    with serving(answer) as server, pytest.raises(ConfigError, match=rf"refuses request r0 \({status}\)"):
        make(server, FAST).generate(requests(4), SETTINGS)


def test_one_failure_is_no_reason(make):
    """`max_retries` failures in a row are forgiven."""

    with serving(like_vllm) as server:
        generator = make(server, FAST)
        generator.check_ready()
        server.script += [error(500, "x"), error(500, "x")]
        answers = generator.generate(requests(1), SETTINGS)
    assert [each.finish_reason for each in answers] == ["stop"]


def test_each_prompt_that_fails_is_checked_anew(make):
    """What one plain answer showed does not stand for later: when the server breaks for all, none is given up."""
    num_plain = []

    def answer(body):
        if body["prompt"][0] >= 100:
            return error(500, "x")
        num_plain.append(1)
        return like_vllm(body) if len(num_plain) <= 2 else error(500, "x")

    settings = ServerSettings(
        concurrency=1, timeout_s=30, max_retries=0, give_up_after_s=0.5, backoff_s=0.01, max_backoff_s=0.05
    )
    with serving(answer) as server:
        stream = make(server, settings).stream(requests(3), SETTINGS)
        assert next(stream) == unanswered(0, "failed: status 500: x")
        with pytest.raises(BackendError, match="has not answered"):
            next(stream)
