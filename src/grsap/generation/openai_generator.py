"""Generation by any server that speaks OpenAI's completions protocol: vLLM, SGLang, TGI, `transformers serve`."""

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
_OF_ONE_PROMPT = frozenset({400, 403, 413, 422, 451})
"""Statuses by which servers refuse a single prompt, for its content or length."""
PLAIN_PROMPT = "Hello"


class OpenAIGenerator(Generator):
    """A model behind an address.

    Prompts go to the completions endpoint as token ids where the server takes them. One short request at the start
    finds out what the server understands. A server that takes strings only is refused prompts that a string cannot
    carry, and log-probabilities; the token ids of its answers are their text encoded again (`Generation.reencoded`).

    Args:
        base_url: the server's address, up to and with `/v1`.
        model: the name that the server gives the model.
        tokenizer: the served model's own tokenizer and chat template, read on this machine.
        server: how much to ask at once, how long to wait, when to give up.
        prompt_format: `auto` finds out; `ids` refuses a server that takes strings only; `text` sends strings.
        revision: of the served weights, such as a commit or a date. No server tells it: change it when other weights
            are served under the same name, or answers that are kept pass for theirs.

    Raises:
        ConfigError: an address that is none or holds a secret, or a setting out of range.
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
        """The served model's."""
        return self.tokenizer_source.load_tokenizer()

    @cached_property
    def template(self) -> ChatTemplate:
        """The served model's."""
        return self.tokenizer_source.template(self.tokenizer)

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """One answer a request, each as soon as it is there.

        Raises:
            ConfigError: a setting out of range or that this server cannot do, or a request that it refuses.
            DataError: a prompt that this server cannot be given.
            BackendError: the server gave no answers for too long; what came before stays good.
        """
        settings.check()
        if not requests:
            return
        loop, client = self._connection()
        form = self._format(self._known_dialect())
        form.check(requests, settings)
        patience = Patience(self.server, self.base_url, was_reached=True)
        run = _Run(client, form, patience, self._rate, settings, self._plain_request())

        async def all_of_them(hand_over: Callable[[Generation], None]) -> None:
            await run.all(requests, self.server.concurrency, hand_over)

        yield from loop.iterate(all_of_them)

    def check_ready(self) -> None:
        """Find out what the server understands, with one short request; once.

        Raises:
            ConfigError: nothing answers at the address, or it refuses the request.
        """
        self._known_dialect()

    def identity(self) -> dict[str, Any]:
        """Model and tokenizer. The address is left out: the same model may be served elsewhere tomorrow."""
        return {
            **super().identity(),
            "model": self.model,
            "revision": self.revision,
            "tokenizer": self.tokenizer_source.identity(),
            "prompt_format": self.prompt_format,
        }

    @property
    def model_name(self) -> str:
        """As the server calls it."""
        return self.model

    def weights_revision(self) -> str:
        """As it was given."""
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
        """A prompt to which no server and no content filter has an objection."""
        return GenerationRequest("probe", tuple(self.tokenizer(PLAIN_PROMPT)["input_ids"]))

    async def _find_dialect(self, client: ServerClient, request: GenerationRequest) -> Dialect:
        """The first dialect that the server understands, asked with one token."""
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
                    "Give the tokenizer of the model that is served, at the same revision",
                )
        raise AssertionError("the last dialect returns or raises")


def _with_a_choice(payload: object) -> object:
    first_choice(payload)
    return payload


class _GivenUpError(Exception):
    """A request that failed too often while the server answers others."""


class _Run:
    """The requests of one call, on their way."""

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
        self, requests: Sequence[GenerationRequest], concurrency: int, hand_over: Callable[[Generation], None]
    ) -> None:
        """Ask all, at most `concurrency` at a time; the first error cancels the rest."""
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                hand_over(await self._answer(request))

        workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(requests)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _answer(self, request: GenerationRequest) -> Generation:
        """The answer, or what stands for one that the server withholds while it answers others."""
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
        """What `read` makes of the server's JSON, after as many attempts as it takes.

        Args:
            request: the prompt.
            read: makes a result of the server's JSON.
            serves_others: asked whether the server answers others, once the request failed more than `max_retries`
                times; if it does, the request is given up. None: it never is.
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
            is_last = failure.is_its_own and trials.num_own_failures >= self._patience.settings.max_retries
            if is_last and serves_others is not None and await serves_others():
                raise _GivenUpError(failure.reason)
            await self._patience.wait(trials, failure)

    async def _serves_others(self) -> bool:
        """Whether the server now answers a plain prompt with the same settings."""
        since = time.monotonic()
        async with self._probing:
            if self._served_at >= since:  # another request has just found out
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
