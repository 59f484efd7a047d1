"""The interface of generators: token ids in; texts, token ids and log-probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """One prompt. `prompt_ids` is all of it, rendered, generation prompt included; `seed` is used when sampling."""

    id: str
    prompt_ids: tuple[int, ...]
    seed: int = 0


@dataclass(frozen=True)
class SamplingSettings:
    """How to decode.

    Args:
        max_new_tokens: upper limit of generated tokens a request.
        temperature: 0 is greedy.
        top_p: nucleus, in (0, 1]; only with temperature > 0.
        top_logprobs: give log-probabilities: with 0 of the tokens chosen alone, with k > 0 of the k most likely ones at
            each place too, with None not at all.
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
    """Natural log-probabilities at one place, of the model's own distribution: before temperature and `top_p`.

    Attributes:
        logprob: of the token that was chosen.
        top: (token id, log-probability) of the most likely tokens, the most likely first; empty if not asked for.
    """

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Generation:
    """One answer.

    Attributes:
        id: of its request.
        text: without stop token.
        token_ids: without stop token.
        finish_reason: `length` when the limit cut it; `withheld` when a server gave no answer to this prompt while it
            answers others: the text is empty then, and counts as unanswered.
        stop_token_id: the token that ended it; None when cut, and when `reencoded`.
        logprobs: one entry a token of `token_ids`, and one more for the stop token if there is one; None if not asked
            for.
        reencoded: `token_ids` are the text encoded again, because a server gave the text alone: they may differ from
            the tokens that the model chose, and what ended the answer is not known.
        withheld_because: the reason for `withheld`, such as `content_filter`; empty otherwise.
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
    """A continuation whose likelihood is asked for. Both parts are token ids, and neither is empty."""

    id: str
    prompt_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """Natural log-probabilities of a continuation's tokens, each given all before it; of the model's own distribution,
    before temperature and nucleus."""

    id: str
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation, in nats."""
        return float(np.sum(self.logprobs, dtype=np.float64))


Progress = Callable[[int, int], None]
"""Called with (requests done, requests in all)."""


class Generator(ABC):
    """A model that generates text, local or served. Implement `stream` and two properties."""

    @property
    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer, for prompts that are put together by token ids."""

    @property
    @abstractmethod
    def template(self) -> ChatTemplate:
        """The model's chat template, with the settings that hold everywhere.

        Raises:
            TemplateError: the model has none.
        """

    def check_prompt(self, ids: Sequence[int], what: str, num_new: int) -> None:  # noqa: B027 (most know no limits)
        """Check, without loading weights, that the model can take a prompt.

        Args:
            ids: all of its tokens.
            what: the prompt, for the error.
            num_new: tokens that will be generated after it.

        Raises:
            UserError: a token is none of the model's, or the prompt is too long.
        """

    @abstractmethod
    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """One answer a request, each as soon as it is there, in any order.

        An answer depends on its request (prompt and seed) and the settings alone. What came before an error stays good.
        """

    def checked_stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        """What `stream` yields.

        Raises:
            PluginError: an answer is none, to no request, a second one, or one is missing in the end.
        """
        missing = dict.fromkeys(request.id for request in requests)
        stream: Any = self.stream(requests, settings)
        if not isinstance(stream, Iterable) or isinstance(stream, (str, bytes, Mapping)):
            raise PluginError(self, "stream", f"returns {described(stream)}", "Yield one Generation a request")
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
                "Yield one Generation a request, under its id",
            )

    def _check_answer(self, answer: Any, missing: Collection[str]) -> None:
        if not isinstance(answer, Generation):
            raise PluginError(self, "stream", f"yields {described(answer)}", "Yield one Generation a request")
        if answer.id not in missing:
            raise PluginError(
                self,
                "stream",
                f"yields an answer to {answer.id!r}, which is not asked, or answered already",
                "Answer each request once, by its id",
            )
        if not isinstance(answer.text, str) or answer.finish_reason not in get_args(FinishReason):
            problem = f"yields text {described(answer.text)} with finish_reason {answer.finish_reason!r}"
            raise PluginError(self, "stream", problem, f"Give a str, and one of {', '.join(get_args(FinishReason))}")
        ids: Any = answer.token_ids
        if not isinstance(ids, Sequence) or not all(isinstance(each, Integral) for each in ids):
            raise PluginError(self, "stream", f"yields token_ids as {described(ids)}", "Give a tuple of token ids")

    def checked_likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """What `likelihoods` yields.

        Raises:
            PluginError: a result is to no request, or has another length, or is no log-probability; or one is missing.
        """
        lengths = {request.id: len(request.continuation_ids) for request in requests}
        for found in self.likelihoods(requests):
            length = lengths.pop(found.id, None)
            wrong = [each for each in found.logprobs if not is_finite(each) or each > 1e-3]
            if length != len(found.logprobs) or wrong:
                among = f", {wrong[0]!r} among them" if wrong else ""
                problem = f"yields {len(found.logprobs)} numbers for the {length} tokens of {found.id!r}{among}"
                remedy = "Yield one finite log-probability a token, and one result a request"
                raise PluginError(self, "likelihoods", problem, remedy)
            yield found
        if lengths:
            raise PluginError(
                self,
                "likelihoods",
                f"leaves {len(lengths)} of {len(requests)} requests out",
                "Yield one result a request",
            )

    def generate(
        self, requests: Sequence[GenerationRequest], settings: SamplingSettings, progress: Progress | None = None
    ) -> list[Generation]:
        """One answer a request, in their order. Ids must differ."""
        answers: dict[str, Generation] = {}
        for answer in self.checked_stream(requests, settings):
            answers[answer.id] = answer
            if progress is not None:
                progress(len(answers), len(requests))
        return [answers[request.id] for request in requests]

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Score given continuations; yields each as soon as it is computed, in any order.

        Raises:
            ConfigError: this backend does not give them; raised before any work.
        """
        raise ConfigError(
            f"{type(self).__name__} gives no log-probabilities of given texts", "Use TransformersGenerator instead"
        )

    def identity(self) -> dict[str, Any]:
        """Identity of this backend and its model, for manifests and caches; JSON values."""
        return {"backend": type(self).__name__}

    def content_identity(self) -> dict[str, Any]:
        """What its answers depend on, and not where files lie or how fast it goes: for results that are kept.

        May take seconds, as `weights_revision`.
        """
        return {**self.identity(), "revision": self.weights_revision()}

    def check_ready(self) -> None:  # noqa: B027 (models on this machine need nothing)
        """Check that the server answers, before anything expensive; loads no weights.

        Raises:
            ConfigError: nothing answers at its address.
        """

    @property
    def model_name(self) -> str:
        """What people call the model, such as a Hub id; empty if it has no name."""
        return ""

    def weights_revision(self) -> str:
        """Commit or hash of the weights, and of what is done to them; empty if it is not known. May take seconds."""
        return ""

    def runs_on(self, device: torch.device) -> bool:
        """Whether its weights take memory of `device`."""
        return False

    def close(self) -> None:  # noqa: B027 (most backends hold nothing)
        """Give back memory, processes and connections. It may be used again afterwards, and reloads then."""
