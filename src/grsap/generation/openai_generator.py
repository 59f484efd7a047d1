"""Generation by any server with OpenAI's completions protocol: vLLM, SGLang, TGI, `transformers serve`."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

from transformers import PreTrainedTokenizerBase

from grsap.errors import ConfigError
from grsap.generation.background_loop import BackgroundLoop
from grsap.generation.base import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.generation.completions import (
    EXTENDED,
    IDS,
    TEXT,
    CompletionFormat,
    Dialect,
    UnreadableAnswerError,
    first_choice,
    token_ids,
    usage,
    withheld,
)
from grsap.generation.patience import Failure, Patience, RequestRate, Trials
from grsap.generation.server_client import AttemptFailedError, RefusedError, ServerClient, check_address
from grsap.generation.server_settings import DEFAULT_SETTINGS, ServerSettings
from grsap.generation.stopping import decoding_template
from grsap.models.tokenizer_source import TokenizerSource
from grsap.text.template import ChatTemplate

T = TypeVar("T")
PromptFormat = Literal["auto", "ids", "text"]

_LADDERS: dict[PromptFormat, tuple[Dialect, ...]] = {
    "auto": (EXTENDED, IDS, TEXT),
    "ids": (EXTENDED, IDS),
    "text": (TEXT,),
}
_NOT_UNDERSTOOD = frozenset({400, 422})
"""Statuses with which servers reject unknown fields."""
_OF_ONE_PROMPT = frozenset({400, 403, 413, 422, 451})
"""Statuses with which servers refuse a single prompt, for its content or length."""
PLAIN_PROMPT = "Hello"


class OpenAIGenerator(Generator):
    """A model on a server.

    Prompts are sent to the completions endpoint, as token ids if the server accepts them. A short first request detects
    what the server supports. With a server that takes only strings, prompts that have no exact string and requests for
    log-probabilities are errors, and the token ids of an answer are its text encoded again (`Generation.reencoded`).

    Args:
        base_url: address of the server, including `/v1`.
        model: name of the model on the server.
        tokenizer: tokenizer and chat template of the served model, read on this machine.
        server: concurrency, timeouts, and when to give up.
        prompt_format: `auto` detects the format; `ids` rejects servers that take only strings; `text` sends strings.
        revision: version of the served weights, such as a commit or a date. Servers do not report it: change it when
            other weights are served under the same name, or stored answers of the old ones will be reused.

    Raises:
        ConfigError: the address is invalid or contains a secret, or a setting is out of range.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        tokenizer: TokenizerSource,
        server: ServerSettings = DEFAULT_SETTINGS,
        prompt_format: PromptFormat = "auto",
        revision: str = "",
    ) -> None:
        check_address(base_url)
        server.check()
        tokenizer.check()
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.tokenizer_source = tokenizer
        self.server = server
        self.prompt_format = prompt_format
        self.revision = revision
        self._rate = RequestRate(server.max_requests_per_minute)
        self._open: tuple[BackgroundLoop, ServerClient] | None = None
        self._dialect: Dialect | None = None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the served model."""
        return self.tokenizer_source.load_tokenizer()

    @cached_property
    def template(self) -> ChatTemplate:
        """Chat template of the served model."""
        return self.tokenizer_source.template(self.tokenizer)

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """Yield one answer per request, each as soon as it arrives.

        Raises:
            ConfigError: a setting is out of range or not supported by the server, or the server refuses a request.
            DataError: the server takes only strings, and a prompt has no exact string.
            BackendError: the server has not answered for too long; answers yielded before are valid.
        """
        settings.check()
        if not requests:
            return
        loop, client = self._connection()
        form = self._format(self._known_dialect())
        form.check(requests, settings)
        patience = Patience(self.server, self.base_url, was_reached=True)
        run = _Run(client, form, patience, self._rate, settings, self._plain_request())

        yield from loop.iterate(partial(run.all, requests, self.server.concurrency))

    def check_ready(self) -> None:
        """Detect what the server supports, with one short request, once.

        Raises:
            ConfigError: no server answers at the address, or it refuses the request.
        """
        self._known_dialect()

    def identity(self) -> dict[str, Any]:
        """Identify model and tokenizer, not the address: the same model may move to another server."""
        return {
            **super().identity(),
            "model": self.model,
            "revision": self.revision,
            "tokenizer": self.tokenizer_source.identity(),
            "prompt_format": self.prompt_format,
        }

    @property
    def model_name(self) -> str:
        """Name of the model on the server."""
        return self.model

    def weights_revision(self) -> str:
        """Return `revision` as configured."""
        return self.revision

    def close(self) -> None:
        """Close the connections and stop the thread."""
        if self._open is not None:
            loop, client = self._open
            self._open = None
            self._dialect = None
            loop.run(client.close())
            loop.close()

    def _connection(self) -> tuple[BackgroundLoop, ServerClient]:
        if self._open is None:
            client = ServerClient(self.base_url, self.model, self.server)
            self._open = BackgroundLoop(), client
        return self._open

    def _format(self, dialect: Dialect) -> CompletionFormat:
        return CompletionFormat(dialect, self.tokenizer, decoding_template(self))

    def _known_dialect(self) -> Dialect:
        if self._dialect is None:
            loop, client = self._connection()
            self._dialect = loop.run(self._find_dialect(client, self._plain_request()))
        return self._dialect

    def _plain_request(self) -> GenerationRequest:
        """Return a prompt that no server and no content filter refuses."""
        return GenerationRequest("probe", tuple(self.tokenizer(PLAIN_PROMPT)["input_ids"]))

    async def _find_dialect(self, client: ServerClient, request: GenerationRequest) -> Dialect:
        """Return the first dialect of the ladder that the server accepts, by requests for one token."""
        settings = SamplingSettings(max_new_tokens=1)
        ladder = _LADDERS[self.prompt_format]
        patience = Patience(self.server, self.base_url)
        for dialect in ladder:
            run = _Run(client, self._format(dialect), patience, self._rate, settings, request)
            try:
                payload = await run.asked(request, _with_a_choice)
            except RefusedError as error:
                if error.status not in _NOT_UNDERSTOOD or dialect is ladder[-1]:
                    raise
                continue
            num_read = usage(payload, "prompt_tokens")
            if num_read in {None, len(request.prompt_ids)}:
                return dataclasses.replace(dialect, returns_ids=token_ids(first_choice(payload)) is not None)
            if dialect is ladder[-1]:
                raise ConfigError(
                    f"{self.base_url} read a prompt of {len(request.prompt_ids)} tokens as {num_read}",
                    "Give the tokenizer of the served model, at the same revision",
                )
        raise AssertionError("the last dialect returns or raises")


def _with_a_choice(payload: object) -> object:
    first_choice(payload)
    return payload


class _GivenUpError(Exception):
    """A request failed too often while the server answers others."""


class _Run:
    """The requests of one call of `stream`."""

    def __init__(
        self,
        client: ServerClient,
        form: CompletionFormat,
        patience: Patience,
        rate: RequestRate,
        settings: SamplingSettings,
        plain_request: GenerationRequest,
    ) -> None:
        self._client = client
        self._form = form
        self._patience = patience
        self._rate = rate
        self._settings = settings
        self._plain_request = plain_request
        self._served_at = -math.inf
        self._probing = asyncio.Lock()

    async def all(
        self, requests: Sequence[GenerationRequest], concurrency: int, emit: Callable[[Generation], None]
    ) -> None:
        """Send all requests, at most `concurrency` at a time; emit the answers. The first error cancels the rest."""
        waiting = iter(requests)  # shared by the workers

        async def work() -> None:
            for request in waiting:
                emit(await self._answer(request))

        workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(requests)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _answer(self, request: GenerationRequest) -> Generation:
        """Return the answer, or a `withheld` one if the server fails on this request but answers others."""
        read = partial(self._form.read, request=request, settings=self._settings)
        try:
            answer = await self.asked(request, read, self._serves_others)
        except RefusedError as error:
            if error.status not in _OF_ONE_PROMPT or not (self._patience.num_answers or await self._serves_others()):
                raise
            return withheld(request, f"refused: {error.reason}")
        except _GivenUpError as error:
            return withheld(request, f"failed: {error}")
        self._patience.answered()
        return answer

    async def asked(
        self,
        request: GenerationRequest,
        read: Callable[[object], T],
        serves_others: Callable[[], Awaitable[bool]] | None = None,
    ) -> T:
        """Send a request, with retries, until `read` accepts the server's JSON; return its result.

        Args:
            request: the prompt.
            read: decodes the server's JSON.
            serves_others: called once the request has failed more than `max_retries` times; if it returns True, the
                request is given up. None retries without that limit.

        Raises:
            _GivenUpError: the request failed too often while the server answers others.
            RefusedError: the server refuses the request.
            BackendError: the server has not answered for too long.
        """
        trials = Trials(request.id)
        fields = self._form.fields(request, self._settings)
        while True:
            await self._patience.until_open()
            await self._rate.turn()
            try:
                return read(await self._client.complete(fields, request.id))
            except AttemptFailedError as error:
                failure = error.failure
            except UnreadableAnswerError as error:
                failure = Failure(str(error))
            is_last = failure.may_be_request and trials.num_own_failures >= self._patience.settings.max_retries
            if is_last and serves_others is not None and await serves_others():
                raise _GivenUpError(failure.reason)
            await self._patience.wait(trials, failure)

    async def _serves_others(self) -> bool:
        """Return whether the server now answers a plain prompt with the same settings."""
        since = time.monotonic()
        async with self._probing:
            if self._served_at >= since:  # another request found out while this one waited for the lock
                return True
            started = time.monotonic()
            try:
                fields = self._form.fields(self._plain_request, self._settings)
                payload = await self._client.complete(fields, self._plain_request.id)
                answer = self._form.read(payload, self._plain_request, self._settings)
            except (AttemptFailedError, UnreadableAnswerError, RefusedError):
                return False
            if answer.finish_reason == "withheld":
                return False
            self._served_at = started
            self._patience.heard()
            return True
