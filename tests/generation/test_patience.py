"""`OpenAIGenerator` and a server that fails: what it waits for, how often it asks, when and how it gives up."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import threading
import time
from dataclasses import replace

import pytest
from tests.generation.completions_server import Reply, error, like_vllm, requests, serving

from grsap.errors import BackendError
from grsap.generation import SamplingSettings, ServerSettings, patience
from grsap.generation.patience import Failure, Patience, Trials

SETTINGS = SamplingSettings(max_new_tokens=8)
ONE_BY_ONE = ServerSettings(concurrency=1, timeout_s=30, give_up_after_s=10, backoff_s=0.01, max_backoff_s=0.05)
MALFORMED = [
    Reply("{not json"),
    Reply("", headers={"Content-Type": "text/html"}),
    Reply(None),
    Reply({}),
    Reply({"choices": None}),
    Reply({"choices": []}),
    Reply({"choices": [None]}),
    Reply({"choices": [{"text": None, "token_ids": None, "finish_reason": None}]}),
    Reply({"choices": [{"text": "", "token_ids": [105], "finish_reason": "abort"}]}),
    Reply({"error": {"message": "out of memory"}}),
]


def after_the_probe(server, make, replies, settings=ONE_BY_ONE, num=2):
    """Let the server's next replies be `replies`; returns the number of calls that `num` requests took."""
    generator = make(server, settings)
    generator.generate(requests(1), SETTINGS)
    before = len(server.bodies)
    server.script += replies
    answers = generator.generate(requests(num), SETTINGS)
    assert [answer.token_ids for answer in answers] == [(105 + n, 104 + n, 103 + n) for n in range(num)]
    return len(server.bodies) - before


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_these_statuses_are_asked_again(make, status):
    with serving(like_vllm) as server:
        assert after_the_probe(server, make, [error(status, "busy")] * 3) == 2 + 3


@pytest.mark.parametrize("reply", MALFORMED, ids=lambda reply: str(reply.body)[:40])
def test_an_answer_that_cannot_be_read_is_asked_for_again(make, reply):
    with serving(like_vllm) as server:
        assert after_the_probe(server, make, [reply]) == 2 + 1


def test_dropped_connections_and_slow_answers_are_asked_again(make):
    with serving(like_vllm) as server:
        replies = [Reply(drop=True), Reply(drop=True), Reply(delay_s=2.0)]
        assert after_the_probe(server, make, replies, replace(ONE_BY_ONE, timeout_s=0.3)) == 2 + 3


def test_a_failing_probe_waits_too(make):
    with serving(like_vllm) as server:
        server.script += [error(503, "loading"), Reply(drop=True)]
        (answer,) = make(server, ONE_BY_ONE).generate(requests(1), SETTINGS)
    assert answer.token_ids == (105, 104, 103)
    assert len(server.bodies) == 2 + 2


def test_missing_logprobs_are_asked_for_again(make):
    with serving(like_vllm) as server:
        generator = make(server, ONE_BY_ONE)
        generator.generate(requests(1), SETTINGS)
        server.script.append(Reply({"choices": [{"token_ids": [105, 2], "logprobs": None}]}))
        server.script.append(
            Reply({"choices": [{"token_ids": [105, 2], "logprobs": {"token_logprobs": [None, -1.0]}}]})
        )
        settings = SamplingSettings(8, top_logprobs=0)
        (answer,) = generator.generate(requests(1), settings)
    assert [entry.logprob for entry in answer.logprobs] == [-9.0] * 4
    assert len(server.bodies) == 2 + 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_waited_for_by_all(make, as_date):
    """A date has whole seconds: two of them ask for a wait of one to two."""
    with serving(like_vllm) as server:
        generator = make(server)
        generator.generate(requests(1), SETTINGS)
        seconds = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "0.6"
        server.script.append(error(429, "slow down", Retry_After=seconds))
        start = time.monotonic()
        generator.generate(requests(12), SETTINGS)
        assert time.monotonic() - start >= (0.9 if as_date else 0.6)
    # The four in flight went out before the wait was known; the rest came after it.
    assert len(server.bodies) == 2 + 12 + 1


def test_backoff_grows_with_full_jitter_and_comes_again():
    settings = ServerSettings(backoff_s=1.0, max_backoff_s=6.0)
    limits = [1.0, 2.0, 4.0, 6.0, 6.0]

    def delays(name):
        trials, out = Trials(name), []
        for _ in limits:
            trials.num_failures += 1
            out.append(trials.backoff_s(settings))
        return out

    draws = random.Random("grsap/a")
    assert delays("a") == [draws.uniform(0.0, limit) for limit in limits]
    many = [delays(str(n)) for n in range(400)]
    for place, limit in enumerate(limits):
        drawn = [row[place] for row in many]
        assert 0 <= min(drawn) < 0.05 * limit
        assert 0.95 * limit < max(drawn) <= limit
        assert sum(drawn) / 400 == pytest.approx(limit / 2, rel=0.1)


def test_it_gives_up_after_the_time_without_an_answer(make, caplog):
    """Five answers, then the server is gone: they are kept, the wait is told once, and the error counts them."""
    settings = ServerSettings(concurrency=2, timeout_s=5, give_up_after_s=3, backoff_s=0.05, max_backoff_s=0.4)
    got = []
    with serving(like_vllm) as server:
        stream = make(server, settings).stream(requests(300), SETTINGS)
        got += [next(stream) for _ in range(5)]
    start = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(BackendError) as caught:
        got.extend(stream)
    assert 2.5 < time.monotonic() - start < 5
    assert len({answer.id for answer in got}) == len(got) == caught.value.num_answers
    assert f"{len(got)} answers were kept" in str(caught.value)
    assert "has not answered for 3 s; last failure: the connection was refused" in str(caught.value)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "grsap.generation.patience"]
    assert "Requests waiting: " in line
    assert f"answered: {len(got)}. Giving up after 3 s" in line


def test_a_server_that_comes_back_in_time_goes_on(make):
    """Killed after five answers and started again a second later, at the same port: each id comes once."""
    settings = ServerSettings(concurrency=4, timeout_s=5, give_up_after_s=20, backoff_s=0.05, max_backoff_s=0.3)
    got = []
    with serving(like_vllm) as server:
        port = server.server_address[1]
        stream = make(server, settings).stream(requests(60), SETTINGS)
        got += [next(stream) for _ in range(5)]
    first = len(server.bodies)

    def start_again():
        time.sleep(1.0)
        with serving(like_vllm, port) as again:
            done.wait(20)
            served.append(len(again.bodies))

    done, served = threading.Event(), []
    thread = threading.Thread(target=start_again)
    thread.start()
    try:
        got.extend(stream)
    finally:
        done.set()
        thread.join()
    assert sorted(answer.id for answer in got) == sorted(f"r{n}" for n in range(60))
    assert first + served[0] <= 1 + 60 + 4  # at most the four in flight were asked twice


def test_a_busy_server_is_not_held_against_a_request(make):
    """503 and 429 say nothing of the request: it may meet them more often than `max_retries`."""
    settings = ServerSettings(concurrency=1, max_retries=0, backoff_s=0.001, max_backoff_s=0.01)
    with serving(like_vllm) as server:
        assert after_the_probe(server, make, [error(503, "x"), error(429, "x"), error(502, "x")], settings) == 2 + 3


def test_the_wait_is_told_now_and_then(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock[0])

    async def sleep(seconds):
        clock[0] += 1.0

    monkeypatch.setattr(patience.asyncio, "sleep", sleep)
    waiting, trials = Patience(ServerSettings(give_up_after_s=100), "here", was_reached=True), Trials("a")

    async def fail_often():
        for _ in range(90):
            await waiting.wait(trials, Failure("down"))

    clock[0] = 1000.0
    waiting._last_answer = 1000.0
    with caplog.at_level(logging.WARNING):
        asyncio.run(fail_often())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert all(line.startswith("here has not answered for ") and "(down)" in line for line in told)


def test_give_up_counts_from_the_last_answer(make):
    """Slow but alive: three answers, each after most of the allowed silence and a failure."""
    settings = ServerSettings(concurrency=1, timeout_s=5, give_up_after_s=0.6, backoff_s=0.01, max_backoff_s=0.05)

    def answer(body):
        reply = like_vllm(body)
        reply.delay_s = 0.4 if body["max_tokens"] > 1 else 0.0
        return reply

    with serving(answer) as server:
        generator = make(server, settings)
        server.script += [error(500, "x"), answer({"prompt": [1, 2, 3, 4, 5, 6], "max_tokens": 1})]
        assert len(generator.generate(requests(3), SETTINGS)) == 3
