"""`OpenAIGenerator` and a server that is not there, or means harm: bombs, drips, redirections, impossible waits."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import contextmanager
from functools import cache

import pytest
from tests.generation.completions_server import Reply, error, like_vllm, requests, serving

from grsap.errors import BackendError, ConfigError
from grsap.generation import OpenAIGenerator, SamplingSettings, ServerSettings, patience
from grsap.generation.bounded_body import MAX_BODY_BYTES
from grsap.generation.server_client import retry_after_s

SETTINGS = SamplingSettings(max_new_tokens=8)
# Gives up at the second failure, but waits for an answer: the server in this process may be slow.
IMPATIENT = ServerSettings(
    concurrency=2, timeout_s=30, max_retries=1, give_up_after_s=0.2, backoff_s=0.01, max_backoff_s=0.05
)


@contextmanager
def raw_server(respond):
    """A socket server: `respond(connection)` after each request's headers and body were read."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve(connection):
        with connection:
            connection.settimeout(5)
            try:
                while not stopping.is_set():
                    head = b""
                    while b"\r\n\r\n" not in head:
                        if not (more := connection.recv(65536)):
                            return
                        head += more
                    respond(connection)
            except OSError:
                return

    def accept():
        while not stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        stopping.set()
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in `accept`
        listener.close()


@pytest.fixture
def make_for(source):
    made = []

    def build(url, settings=IMPATIENT):
        made.append(OpenAIGenerator(url, "tiny", source, settings))
        return made[-1]

    yield build
    for generator in made:
        generator.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# -- not there ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["generate", "check_ready"])
def test_a_dead_port_is_the_users_error_within_seconds(make_for, call, monkeypatch):
    assert patience.REACH_WITHIN_S <= 10
    monkeypatch.setattr(patience, "REACH_WITHIN_S", 0.5)
    url = f"http://127.0.0.1:{free_port()}/v1"
    generator = make_for(url, ServerSettings())  # give_up_after_s is 900
    start = time.monotonic()
    with pytest.raises(ConfigError, match=rf"no server answers at {url}: .*refused.* Start the server, or correct bas"):
        generator.generate(requests(3), SETTINGS) if call == "generate" else generator.check_ready()
    assert 0.4 < time.monotonic() - start < 5


def test_a_name_that_does_not_exist_is_told(make_for, monkeypatch):
    monkeypatch.setattr(patience, "REACH_WITHIN_S", 0.2)
    with pytest.raises(ConfigError, match=r"no server answers at http://no-such-host\.invalid/v1"):
        make_for("http://no-such-host.invalid/v1", ServerSettings()).check_ready()


def test_a_server_that_starts_within_the_seconds_is_found(make_for):
    port = free_port()
    generator = make_for(f"http://127.0.0.1:{port}/v1", ServerSettings(backoff_s=0.1, max_backoff_s=0.2))
    done = threading.Event()

    def start_late():
        time.sleep(0.7)
        with serving(like_vllm, port):
            done.wait(10)

    thread = threading.Thread(target=start_late)
    thread.start()
    try:
        assert len(generator.generate(requests(2), SETTINGS)) == 2
    finally:
        done.set()
        thread.join()


def test_a_server_that_dies_later_is_waited_for(make, monkeypatch):
    """Also between two calls: it was there, so it may come back."""
    monkeypatch.setattr(patience, "REACH_WITHIN_S", 0.0)
    with serving(like_vllm) as server:
        generator = make(server, IMPATIENT)
        generator.generate(requests(1), SETTINGS)
    with pytest.raises(BackendError, match="has not answered for 0 s; last failure: the connection was"):
        generator.generate(requests(1), SETTINGS)


def test_being_ready_is_found_out_once(make):
    with serving(like_vllm) as server:
        generator = make(server)
        generator.check_ready()
        generator.check_ready()
        generator.generate(requests(1), SETTINGS)
    assert len(server.bodies) == 2


# -- bombs -------------------------------------------------------------------------------------------------------------


@cache
def gzip_bomb(num_bytes):
    """A gzip stream of zeros: a thousandth of what it holds."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    piece = bytes(2**20)
    return b"".join([packer.compress(piece) for _ in range(num_bytes // len(piece))]) + packer.flush()


def http(body, status="200 OK", **headers):
    named = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("gzip", "200 OK"), ("gzip", "400 Bad Request"), ("gzip", "500 Internal Server Error"), ("identity", "200 OK")],
)
def test_a_bomb_does_not_fill_the_memory(make_for, encoding, status):
    num_bytes = 8 * MAX_BODY_BYTES if encoding == "gzip" else MAX_BODY_BYTES + 1
    body = gzip_bomb(num_bytes) if encoding == "gzip" else bytes(num_bytes)
    response = http(body, status, Content_Encoding=encoding)
    with raw_server(lambda connection: connection.sendall(response)) as url:
        generator = make_for(url)
        generator.tokenizer  # noqa: B018 (loaded before memory is counted)
        tracemalloc.start()
        try:
            with pytest.raises(BackendError, match="the answer is larger than 32 MiB"):
                generator.check_ready()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * MAX_BODY_BYTES


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "x" * 1000])
def test_encodings_that_were_not_asked_for_are_refused(make_for, encoding):
    response = http(b"{}", Content_Encoding=encoding)
    with (
        raw_server(lambda connection: connection.sendall(response)) as url,
        pytest.raises(BackendError, match=r"compressed by [^ ]{1,20}.*, which was not requested"),
    ):
        make_for(url).check_ready()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_ordinary_compression_is_read(make, encoding):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]

    def answer(body):
        return Reply(pack(json.dumps(like_vllm(body).body).encode()), headers={"Content-Encoding": encoding})

    with serving(answer) as server:
        (got,) = make(server).generate(requests(1), SETTINGS)
    assert got.token_ids == (105, 104, 103)
    assert {seen["accept-encoding"] for seen in server.headers_seen} == {"identity"}


def test_a_broken_stream_is_asked_for_again(make_for):
    response = http(b"not gzip at all", Content_Encoding="gzip")
    with (
        raw_server(lambda connection: connection.sendall(response)) as url,
        pytest.raises(BackendError, match="the answer cannot be decompressed"),
    ):
        make_for(url).check_ready()


JSON_BOMBS = {
    "nesting": "[" * 200_000,
    "nested objects": '{"a":' * 200_000,
    "digits": '{"choices": ' + "9" * 5_000 + "}",
    "keys twice": '{"choices": [], "choices": []}',
    "NaN": '{"choices": [{"token_ids": [105], "finish_reason": NaN}]}',
    "not UTF-8": "\udcff",
    "huge number": '{"choices": 1e999}',
}


@pytest.mark.parametrize("text", JSON_BOMBS.values(), ids=JSON_BOMBS)
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_json_bombs_are_no_answers(make_for, text, status):
    response = http(text.encode(errors="surrogateescape"), status)
    told = "the answer is no JSON" if status.startswith("200") else "status 500"
    with (
        raw_server(lambda connection: connection.sendall(response)) as url,
        pytest.raises(BackendError, match=told),
    ):
        make_for(url).check_ready()


@pytest.mark.parametrize(
    "choice",
    [
        {"token_ids": [10**30], "finish_reason": "stop"},
        {"token_ids": [-1], "finish_reason": "stop"},
        {"token_ids": [True], "finish_reason": "stop"},
        {"token_ids": [1.5], "finish_reason": "stop"},
        {"token_ids": list(range(100, 140)), "finish_reason": "length"},
        {"token_ids": [105], "finish_reason": ["stop"]},
        {"token_ids": [105], "finish_reason": {"a": 1}},
    ],
    ids=str,
)
def test_answers_that_no_model_gives_are_not_taken(make, choice):
    def answer(body):
        return Reply({"choices": [choice]}) if body["max_tokens"] > 1 and body["prompt"][0] >= 100 else like_vllm(body)

    with serving(answer) as server:
        (got,) = make(server, IMPATIENT).generate(requests(1), SETTINGS)
    assert (got.finish_reason, got.withheld_because[:8]) == ("withheld", "failed: ")


# -- time --------------------------------------------------------------------------------------------------------------


def drip(connection, head):
    """A byte now and then, so that no pause is long; without a head nothing."""
    if not head:
        time.sleep(3)
    connection.sendall(head)
    for _ in range(100):
        time.sleep(0.05)
        connection.sendall(b" ")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        b"",
    ],
    ids=["headers", "body", "body of an error", "nothing"],
)
def test_a_slow_drip_ends_at_the_timeout(make_for, head):
    settings = ServerSettings(concurrency=1, timeout_s=0.4, give_up_after_s=0.3, backoff_s=0.01)
    start = time.monotonic()
    with (
        raw_server(lambda connection: drip(connection, head)) as url,
        pytest.raises(BackendError, match=r"no answer within timeout_s of 0\.4 s"),
    ):
        make_for(url, settings).check_ready()
    assert time.monotonic() - start < 3


RETRY_AFTER = {
    "3": 3.0,
    "0.5": 0.5,
    " 7 ": 7.0,
    "0": 0.0,
    "Thu, 01 Jan 1970 00:00:00 GMT": 0.0,
    "-1": None,
    "+3": None,
    "nan": None,
    "inf": None,
    "1e3": None,
    "1_000": None,
    "0x10": None,
    "٣": None,
    "9999999999": None,
    "3, 4": None,
    "3 seconds": None,
    "": None,
    "soon": None,
    "Thu, 99 Jan 1970 00:00:00 GMT": None,
    "Thu, 01 Jan 1970 00:00:00 +0000": None,
    "1970-01-01T00:00:00Z": None,
    "Fri, 31 Dec 9999 23:59:59 GMT and more": None,
}


@pytest.mark.parametrize(("value", "expected"), RETRY_AFTER.items(), ids=repr)
def test_what_retry_after_says(value, expected):
    assert retry_after_s({"retry-after": value}) == expected
    assert retry_after_s({}) is None


@pytest.mark.parametrize("value", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_wait_is_longer_than_the_rule_for_giving_up(make, value):
    with serving(lambda body: error(429, "later", Retry_After=value)) as server:
        start = time.monotonic()
        with pytest.raises(BackendError, match="has not answered for 0 s"):
            make(server, IMPATIENT).check_ready()
        assert time.monotonic() - start < 3


# -- elsewhere ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["another", "same", "relative", "file", "nonsense"])
def test_redirections_are_not_followed(make, status, where, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame")
    with serving(like_vllm) as other, serving(like_vllm) as server:
        target = {
            "another": other.url + "/completions",
            "same": server.url + "/other",
            "relative": "/v1/other",
            "file": "file:///etc/passwd",
            "nonsense": "http://[\x1b",
        }[where]
        server.answer = lambda body: Reply({}, status, {"Location": target})
        settings = ServerSettings(api_key_env="MY_KEY")
        with pytest.raises(ConfigError, match=r"redirects to .*, which is not followed.* as base_url") as caught:
            make(server, settings).generate(requests(1), SETTINGS)
    assert other.bodies == []
    assert len(server.bodies) == 1
    assert "\x1b" not in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_nothing_of_the_environment_is_sent(make, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "not-for-this-server")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: not-for-this-server\nAuthorization: not-for-this-server")
    with serving(like_vllm) as server:
        make(server).generate(requests(1), SETTINGS)
    assert "not-for-this-server" not in repr(server.headers_seen)
    names = {"host", "connection", "accept", "content-type", "content-length", "user-agent", "x-stainless-raw-response"}
    assert set(server.headers_seen[0]) == {*names, "authorization", "accept-encoding"}
    assert server.headers_seen[0]["authorization"] == "Bearer none"
