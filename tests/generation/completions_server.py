"""A real HTTP server on 127.0.0.1 that speaks the completions protocol, for tests: it does what a script says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from grsap.generation import GenerationRequest

Body = dict[str, Any]
END = 2
"""`<|im_end|>` of the tiny tokenizer."""


@dataclass
class Reply:
    """What to send. `drop` closes the connection instead; `delay_s` comes first."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False


def error(status: int, message: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message}}, status, named)


class CompletionsServer(ThreadingHTTPServer):
    """Answers by `answer(body)`; the replies in `script` go first, one a call, then the ones by `answer`.

    Attributes:
        bodies: what was posted, in order.
        num_in_flight_max: requests that were served at once, at most.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Callable[[Body], Reply], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.script: list[Reply] = []
        self.bodies: list[Body] = []
        self.headers_seen: list[dict[str, str]] = []
        self.num_in_flight = self.num_in_flight_max = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompletionsServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append({"path": self.path, **body})
            server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
            server.num_in_flight += 1
            server.num_in_flight_max = max(server.num_in_flight_max, server.num_in_flight)
            scripted = server.script.pop(0) if server.script else None
        try:
            reply = scripted or server.answer(body)
            server.stopping.wait(reply.delay_s)
        finally:
            with server.lock:
                server.num_in_flight -= 1
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.drop or self.server.stopping.is_set():
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        raw = reply.body.encode() if isinstance(reply.body, str) else reply.body
        raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:  # the client was faster and went away
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(answer: Callable[[Body], Reply], port: int = 0) -> Iterator[CompletionsServer]:
    """A server while it lasts; it ends like one that is killed: connections in flight break."""
    server = CompletionsServer(answer, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def reversed_ids(body: Body) -> list[int]:
    """The fake model's answer: the last three ids of the prompt, backwards."""
    return body["prompt"][:-4:-1]


def like_vllm(body: Body) -> Reply:
    """Token ids in and out, the stop token last, log-probabilities by id."""
    ids = [*reversed_ids(body), END][: body["max_tokens"]]
    logprobs = None
    if "logprobs" in body:
        tops = [{f"token_id:{n}": -0.5 * n - 0.25 for n in range(body["logprobs"])} for _ in ids]
        for token, top in zip(ids, tops, strict=True):
            top[f"token_id:{token}"] = -9.0
        values = [-9.0 for _ in ids]
        logprobs = {"tokens": [f"token_id:{n}" for n in ids], "token_logprobs": values, "top_logprobs": tops}
    return Reply(
        {
            "choices": [
                {
                    "index": 0,
                    "text": "not read",
                    "finish_reason": "stop" if ids[-1] == END else "length",
                    "token_ids": ids,
                    "logprobs": logprobs,
                }
            ],
            "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)},
        }
    )


def requests(num, length=6):
    return [GenerationRequest(f"r{n}", tuple(range(100 + n, 100 + n + length)), seed=n) for n in range(num)]
