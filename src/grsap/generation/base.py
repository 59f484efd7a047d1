"""Interface of generators: token ids in; texts, token ids and log-probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import getattr_static
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from grsap.errors import ConfigError
from grsap.plugins import PluginError, described, is_finite

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from grsap.text.template import ChatTemplate

FinishReason = Literal["stop", "length", "withheld"]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt. `prompt_ids` is the rendered prompt with its generation prompt; `seed` is used when sampling."""

    id: str
    prompt_ids: tuple[int, ...]
    seed: int = 0


@dataclass(frozen=True)
class SamplingSettings:
    """Decoding settings.

    Args:
        max_new_tokens: upper limit of generated tokens per request.
        temperature: 0 is greedy.
        top_p: probability mass of nucleus sampling, in (0, 1]; used only with temperature > 0.
        top_logprobs: log-probabilities to return per generated token: null for none, 0 for that of the chosen token,
            k > 0 for those of the k most likely tokens as well.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_logprobs: int | None = None

    def check(self) -> None:
        """Raise ConfigError for a value out of range."""
        for name, is_right, remedy in (
            ("max_new_tokens", self.max_new_tokens >= 1, "Give at least 1"),
            ("temperature", self.temperature >= 0, "Give at least 0"),
            ("top_p", 0 < self.top_p <= 1, "Give a share in (0, 1]"),
            ("top_logprobs", (self.top_logprobs or 0) >= 0, "Give at least 0, or null"),
        ):
            if not is_right:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy, part=self)


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural log-probabilities at one position, under the model's own distribution: before temperature and `top_p`.

    Attributes:
        logprob: of the chosen token.
        top: (token id, log-probability) of the most likely tokens, in descending order; empty if not requested.
    """

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Generation:
    """One answer.

    Attributes:
        id: id of its request.
        text: decoded answer, without the stop token.
        token_ids: tokens of the answer, without the stop token.
        finish_reason: `stop` at a stop token; `length` at `max_new_tokens`; `withheld` when a server does not answer
            this prompt but answers others: the text is then empty and counts as unanswered.
        stop_token_id: token that ended the answer; None for `length`, and when `reencoded`.
        logprobs: one entry per token of `token_ids`, plus one for the stop token if there is one; None if not
            requested.
        reencoded: the server returned text only, and `token_ids` are that text encoded again: they may differ from the
            tokens that the model chose, and the stop token is unknown.
        withheld_because: reason for `withheld`, such as `content_filter`; otherwise empty.
    """

    id: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    stop_token_id: int | None = None
    logprobs: tuple[TokenLogprobs, ...] | None = None
    reencoded: bool = False
    withheld_because: str = ""


@dataclass(frozen=True)
class ScoringRequest:
    """A continuation to score after a prompt. Both are token ids, and neither is empty."""

    id: str
    prompt_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """Natural log-probabilities of a continuation's tokens, each given all tokens before it, under the model's own
    distribution: before temperature and nucleus."""

    id: str
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """Return the log-probability of the whole continuation, in nats."""
        return float(np.sum(self.logprobs, dtype=np.float64))


Progress = Callable[[int, int], None]
"""Called with (number of finished requests, number of all requests)."""


class Generator(ABC):
    """A model that generates text, local or served. Implement `stream` and two properties."""

    @property
    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer, for prompts that are assembled from token ids."""

    @property
    @abstractmethod
    def template(self) -> ChatTemplate:
        """The model's chat template, with its `chat_template_kwargs`.

        Raises:
            TemplateError: the model has no chat template.
        """

    def check_prompt(self, ids: Sequence[int], what: str, num_new: int) -> None:  # noqa: B027 (most know no limits)
        """Check, without loading weights, that a prompt fits the model.

        Args:
            ids: all tokens of the prompt.
            what: name of the prompt in error messages.
            num_new: number of tokens to generate after it.

        Raises:
            UserError: the model has no embedding of a token, or the prompt is too long.
        """

    @abstractmethod
    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """Yield one answer per request, each as soon as it is finished, in any order.

        An answer depends only on its request (prompt and seed) and the settings. Answers yielded before an error are
        valid.
        """

    def check_attributes(self) -> None:
        """Check that the constructor sets the attributes that are not properties.

        Raises:
            PluginError: the tokenizer or template is None.
        """
        for name in ("tokenizer", "template"):
            if getattr_static(self, name) is None:
                raise PluginError(self, "__init__", f"sets no {name}", f"Set self.{name}")

    def check_identities(self) -> None:
        """Check what identifies the backend in manifests and stored results; may take seconds.

        Raises:
            PluginError: an identity is not a mapping.
        """
        for name in ("identity", "content_identity"):
            found: Any = getattr(self, name)()
            if not isinstance(found, Mapping):
                raise PluginError(self, name, f"returns {described(found)}", "Return a dict of JSON values")

    def checked_stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """Yield the answers of `stream`, each checked.

        Raises:
            PluginError: an answer has a wrong type or an unknown id, a request is answered twice, or a request has no
                answer.
        """
        missing = dict.fromkeys(request.id for request in requests)
        stream: Any = self.stream(requests, settings)
        if not isinstance(stream, Iterable) or isinstance(stream, (str, bytes, Mapping)):
            raise PluginError(self, "stream", f"returns {described(stream)}", "Yield one Generation per request")
        try:
            for answer in stream:
                self._check_answer(answer, missing)
                del missing[answer.id]
                yield answer
        finally:
            if hasattr(stream, "close"):
                stream.close()
        if missing:
            first = next(iter(missing))
            raise PluginError(
                self,
                "stream",
                f"leaves {len(missing)} of {len(requests)} requests without an answer, such as {first}",
                "Yield one Generation per request, with its id",
            )

    def _check_answer(self, answer: Any, missing: Collection[str]) -> None:
        if not isinstance(answer, Generation):
            raise PluginError(self, "stream", f"yields {described(answer)}", "Yield one Generation per request")
        if answer.id not in missing:
            raise PluginError(
                self,
                "stream",
                f"yields an answer to {answer.id!r}, which was not requested or is already answered",
                "Answer each request once, with its id",
            )
        if not isinstance(answer.text, str) or answer.finish_reason not in get_args(FinishReason):
            problem = f"yields text {described(answer.text)} with finish_reason {answer.finish_reason!r}"
            raise PluginError(self, "stream", problem, f"Give a str, and one of {', '.join(get_args(FinishReason))}")
        ids: Any = answer.token_ids
        if not isinstance(ids, Sequence) or not all(isinstance(each, Integral) for each in ids):
            raise PluginError(self, "stream", f"yields token_ids as {described(ids)}", "Give a tuple of token ids")

    def checked_likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Yield the results of `likelihoods`, each checked.

        Raises:
            PluginError: a result has an unknown id, a wrong number of values or a value that is no log-probability, or
                a request has no result.
        """
        lengths = {request.id: len(request.continuation_ids) for request in requests}
        for found in self.likelihoods(requests):
            length = lengths.pop(found.id, None)
            wrong = [each for each in found.logprobs if not is_finite(each) or each > 1e-3]  # rounding may exceed 0
            if length != len(found.logprobs) or wrong:
                among = f", {wrong[0]!r} among them" if wrong else ""
                problem = f"yields {len(found.logprobs)} numbers for the {length} tokens of {found.id!r}{among}"
                remedy = "Yield one finite log-probability per token, and one result per request"
                raise PluginError(self, "likelihoods", problem, remedy)
            yield found
        if lengths:
            raise PluginError(
                self,
                "likelihoods",
                f"leaves out {len(lengths)} of {len(requests)} requests",
                "Yield one result per request",
            )

    def generate(
        self, requests: Sequence[GenerationRequest], settings: SamplingSettings, progress: Progress | None = None
    ) -> list[Generation]:
        """Return one answer per request, in the order of `requests`, whose ids must differ."""
        answers: dict[str, Generation] = {}
        for answer in self.checked_stream(requests, settings):
            answers[answer.id] = answer
            if progress is not None:
                progress(len(answers), len(requests))
        return [answers[request.id] for request in requests]

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Score given continuations; yield each result as soon as it is computed, in any order.

        Raises:
            ConfigError: this backend cannot score given texts; raised before any work.
        """
        raise ConfigError(
            f"{type(self).__name__} gives no log-probabilities of given texts", "Use TransformersGenerator instead"
        )

    def identity(self) -> dict[str, Any]:
        """Identify this backend and its model in manifests and caches, by JSON values."""
        return {"backend": type(self).__name__}

    def content_identity(self) -> dict[str, Any]:
        """Identify what answers depend on, for stored results: no file locations, no settings of speed.

        May take seconds, as `weights_revision` does.
        """
        return {**self.identity(), "revision": self.weights_revision()}

    def check_ready(self) -> None:  # noqa: B027 (models on this machine need nothing)
        """Check that the server answers, before expensive work; load no weights.

        Raises:
            ConfigError: no server answers at the address.
        """

    @property
    def model_name(self) -> str:
        """Name of the model in reports, such as a Hub id; empty if it has no name."""
        return ""

    def weights_revision(self) -> str:
        """Return the commit or hash of the weights and of their adapter; empty if unknown. May take seconds."""
        return ""

    def runs_on(self, device: torch.device) -> bool:
        """Return whether its weights occupy memory of `device`."""
        return False

    def close(self) -> None:  # noqa: B027 (most backends hold nothing)
        """Release memory, processes and connections; the next use reloads them."""
