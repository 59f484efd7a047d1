"""The completions protocol of OpenAI-compatible servers: a request to fields, an answer's fields to a `Generation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from grsap.errors import ConfigError, DataError
from grsap.generation.base import FinishReason, Generation, GenerationRequest, SamplingSettings, TokenLogprobs
from grsap.generation.model_generator import DecodingTemplate
from grsap.json_text import repair_surrogates

MAX_STOP_STRINGS = 4
"""As many as the protocol allows."""

_STOPPED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn"})
_CUT = frozenset({"length", "max_tokens"})
_TOKEN_ID = "token_id:"
CONTENT_FILTER = "content_filter"


@dataclass(frozen=True)
class Dialect:
    """What a server understands beyond the protocol.

    Attributes:
        takes_ids: prompts as token ids; else as strings.
        takes_extensions: vLLM's fields for stop tokens, token ids of answers and neutral sampling.
        returns_ids: it answers with token ids, so that they are exact.
    """

    takes_ids: bool
    takes_extensions: bool
    returns_ids: bool


EXTENDED = Dialect(takes_ids=True, takes_extensions=True, returns_ids=True)
IDS = Dialect(takes_ids=True, takes_extensions=False, returns_ids=False)
TEXT = Dialect(takes_ids=False, takes_extensions=False, returns_ids=False)


class UnreadableAnswerError(Exception):
    """An answer that is not of the protocol; asking again may help."""


class CompletionFormat:
    """Writes requests and reads answers in one dialect.

    Args:
        dialect: the server's.
        tokenizer: the served model's own.
        template: says where answers stop and turns tokens into text.
    """

    def __init__(self, dialect: Dialect, tokenizer: PreTrainedTokenizerBase, template: DecodingTemplate) -> None:
        self.dialect = dialect
        self.tokenizer = tokenizer
        self.template = template
        self._stop_strings = [str(tokenizer.decode([token])) for token in sorted(template.stop_token_ids)]

    def check(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> None:
        """Refuse what this dialect cannot do exactly.

        Raises:
            ConfigError: log-probabilities of a server that gives no token ids.
            DataError: a prompt that cannot be given as a string.
        """
        if settings.top_logprobs is not None and not self.dialect.returns_ids:
            raise ConfigError(
                "top_logprobs is set, but the server gives answers as strings, without token ids",
                "Leave top_logprobs out, or use a server that returns token ids (vLLM), VLLMGenerator or "
                "TransformersGenerator",
            )
        if not self.dialect.takes_ids:
            for request in requests:
                self.text_of(request)

    def text_of(self, request: GenerationRequest) -> str:
        """The string that the server's tokenizer turns into exactly the prompt's ids.

        Raises:
            DataError: there is none, as for a prompt that spells a control token in its text.
        """
        ids = list(request.prompt_ids)
        # Most servers add the special tokens that the tokenizer adds by itself; a BOS must then not stand in the text.
        for start in (0, 1):
            text = str(self.tokenizer.decode(ids[start:], clean_up_tokenization_spaces=False))
            if text and list(self.tokenizer(text, verbose=False)["input_ids"]) == ids:
                return text
        raise DataError(
            f"the prompt of request {request.id} does not come back when it is decoded and encoded again, and the "
            "server takes prompts as strings only",
            "Use a server that takes token ids (vLLM, SGLang), VLLMGenerator or TransformersGenerator",
        )

    def fields(self, request: GenerationRequest, settings: SamplingSettings) -> dict[str, Any]:
        """The protocol's fields, `model` left out; vLLM's own stand in `extra_body`."""
        fields: dict[str, Any] = {
            "prompt": list(request.prompt_ids) if self.dialect.takes_ids else self.text_of(request),
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p if settings.temperature else 1.0,
            "seed": request.seed % 2**63,
        }
        if settings.top_logprobs is not None:
            fields["logprobs"] = settings.top_logprobs
        if not self.dialect.returns_ids:
            fields["stop"] = self._stop_strings[:MAX_STOP_STRINGS]
        if self.dialect.takes_extensions:
            fields["extra_body"] = {
                "stop_token_ids": sorted(self.template.stop_token_ids),
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
                # Left out, they come from the model's generation_config.json, which may bend the distribution.
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
            }
        return fields

    def read(self, payload: object, request: GenerationRequest, settings: SamplingSettings) -> Generation:
        """The answer in a server's JSON.

        Raises:
            UnreadableAnswerError: there is none in it.
        """
        choice = first_choice(payload)
        ids = token_ids(choice) if self.dialect.returns_ids else None
        if ids is not None and len(ids) > settings.max_new_tokens:
            raise UnreadableAnswerError(f"the answer has {len(ids)} tokens, more than were asked for")
        reason = choice.get("finish_reason")
        if reason == CONTENT_FILTER:
            return withheld(request, CONTENT_FILTER)  # whatever it left of the text: a part of an answer is not judged
        if ids is not None:
            return self._exact(ids, reason, choice, request, settings)
        if self.dialect.returns_ids:
            raise UnreadableAnswerError("the answer has no token_ids")
        text = choice.get("text")
        if not isinstance(text, str):
            raise UnreadableAnswerError("the answer has no text")
        # A server may end a stream within a character that JSON spells as a surrogate pair.
        return self._encoded_again(repair_surrogates(text), reason, payload, request, settings)

    def _exact(
        self,
        ids: list[int],
        reason: object,
        choice: Mapping[str, Any],
        request: GenerationRequest,
        settings: SamplingSettings,
    ) -> Generation:
        """From token ids; the last one may be the stop token."""
        ends = self.template.stop_token_ids | {int(token) for token in self.tokenizer.all_special_ids}
        stopped = bool(ids) and not (isinstance(reason, str) and reason in _CUT) and ids[-1] in ends
        answer = ids[:-1] if stopped else ids
        logprobs = None
        if settings.top_logprobs is not None:
            logprobs = read_logprobs(choice, len(ids), settings.top_logprobs)
        finish_reason: FinishReason = "stop" if stopped else finish(reason, len(answer), settings)
        return Generation(
            request.id,
            self.template.decode(answer),
            tuple(answer),
            finish_reason,
            ids[-1] if stopped else None,
            logprobs,
        )

    def _encoded_again(
        self, text: str, reason: object, payload: object, request: GenerationRequest, settings: SamplingSettings
    ) -> Generation:
        for stop in self._stop_strings:
            text = text.removesuffix(stop)
        ids = tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        num_tokens = usage(payload, "completion_tokens")
        reason_read = finish(reason, len(ids) if num_tokens is None else num_tokens, settings)
        return Generation(request.id, text, ids, reason_read, reencoded=True)


def withheld(request: GenerationRequest, because: str) -> Generation:
    """What stands for the answer that a server does not give."""
    return Generation(request.id, "", (), "withheld", withheld_because=because)


def first_choice(payload: object) -> Mapping[str, Any]:
    """The first of the `choices`.

    Raises:
        UnreadableAnswerError: there is none.
    """
    choices = payload.get("choices") if isinstance(payload, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise UnreadableAnswerError("the answer has no choices")
    return choices[0]


def token_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """The answer's token ids, if the server gives them."""
    ids = choice.get("token_ids")
    if isinstance(ids, list) and all(type(token) is int and 0 <= token < 2**31 for token in ids):
        return ids
    return None


def usage(payload: object, name: str) -> int | None:
    """A count of the server's, if it tells."""
    counts = payload.get("usage") if isinstance(payload, Mapping) else None
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) else None


def finish(reason: object, num_tokens: int, settings: SamplingSettings) -> FinishReason:
    """Why an answer ended. Servers have several words for it, and some say nothing: then the length tells.

    Raises:
        UnreadableAnswerError: the server broke off, as vLLM's `abort`.
    """
    if reason is None or reason == "":
        return "length" if num_tokens >= settings.max_new_tokens else "stop"
    if isinstance(reason, str) and reason in _STOPPED:
        return "stop"
    if isinstance(reason, str) and reason in _CUT:
        return "length"
    raise UnreadableAnswerError(f"the server ended the answer with the reason {str(reason)[:40]!r}")


def read_logprobs(choice: Mapping[str, Any], num_tokens: int, num_top: int) -> tuple[TokenLogprobs, ...]:
    """One entry a token, from lists whose tokens are written `token_id:N`.

    Raises:
        UnreadableAnswerError: they are missing, or of another length than the answer.
    """
    given = choice.get("logprobs")
    given = given if isinstance(given, Mapping) else {}
    chosen, tops = given.get("token_logprobs") or [], given.get("top_logprobs") or []
    if len(chosen) != num_tokens or (num_top and len(tops) != num_tokens) or None in chosen:
        raise UnreadableAnswerError("the answer has no log-probability for each token")
    if not num_top:
        return tuple(TokenLogprobs(float(value)) for value in chosen)
    return tuple(
        TokenLogprobs(float(value), _most_likely(top, num_top)) for value, top in zip(chosen, tops, strict=True)
    )


def _most_likely(top: Mapping[str, float], num_top: int) -> tuple[tuple[int, float], ...]:
    """The `num_top` first; the token chosen is listed too, wherever it stands."""
    try:
        pairs = [(int(token.removeprefix(_TOKEN_ID)), float(value)) for token, value in top.items()]
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableAnswerError(f"a list of log-probabilities cannot be read: {error}") from error
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:num_top])
