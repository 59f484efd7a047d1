"""Completions protocol of OpenAI-compatible servers: encodes requests, decodes answers to `Generation`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from grsap.errors import ConfigError, DataError
from grsap.generation.base import FinishReason, Generation, GenerationRequest, SamplingSettings, TokenLogprobs
from grsap.generation.stopping import DecodingTemplate
from grsap.json_text import repair_surrogates

MAX_STOP_STRINGS = 4
"""Limit of the protocol."""

_STOPPED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn"})
_CUT = frozenset({"length", "max_tokens"})
_TOKEN_ID = "token_id:"
CONTENT_FILTER = "content_filter"


@dataclass(frozen=True)
class Dialect:
    """Features of a server.

    Attributes:
        takes_ids: accepts prompts as token ids, not only as strings.
        takes_extensions: accepts vLLM's fields for stop tokens, token ids of answers and neutral sampling.
        returns_ids: returns the token ids of answers.
    """

    takes_ids: bool
    takes_extensions: bool
    returns_ids: bool


EXTENDED = Dialect(takes_ids=True, takes_extensions=True, returns_ids=True)
IDS = Dialect(takes_ids=True, takes_extensions=False, returns_ids=False)
TEXT = Dialect(takes_ids=False, takes_extensions=False, returns_ids=False)


class UnreadableAnswerError(Exception):
    """An answer that violates the protocol; a retry may succeed."""


class CompletionFormat:
    """Encode requests and decode answers for one server.

    Args:
        dialect: features of the server.
        tokenizer: tokenizer of the served model.
        template: stop tokens and decoding of answers.
    """

    def __init__(self, dialect: Dialect, tokenizer: PreTrainedTokenizerBase, template: DecodingTemplate) -> None:
        self.dialect = dialect
        self.tokenizer = tokenizer
        self.template = template
        self._stop_strings = [str(tokenizer.decode([token])) for token in sorted(template.stop_token_ids)]

    def check(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> None:
        """Check that the server can answer exactly these requests.

        Raises:
            ConfigError: log-probabilities are requested, but the server returns no token ids.
            DataError: the server takes strings, and a prompt has no string that encodes to its token ids.
        """
        if settings.top_logprobs is not None and not self.dialect.returns_ids:
            raise ConfigError(
                "top_logprobs is set, but the server returns answers as strings, without token ids",
                "Omit top_logprobs, or use a server that returns token ids (vLLM), VLLMGenerator or "
                "TransformersGenerator",
            )
        if not self.dialect.takes_ids:
            for request in requests:
                self.text_of(request)

    def text_of(self, request: GenerationRequest) -> str:
        """Return a string that the server's tokenizer encodes to exactly the prompt's ids.

        Raises:
            DataError: no string does, as for a prompt whose ordinary text spells a control token.
        """
        ids = list(request.prompt_ids)
        # Servers encode with the tokenizer's own special tokens: if it adds a BOS, the text must not contain one.
        for start in (0, 1):
            text = str(self.tokenizer.decode(ids[start:], clean_up_tokenization_spaces=False))
            if text and list(self.tokenizer(text, verbose=False)["input_ids"]) == ids:
                return text
        raise DataError(
            f"the prompt of request {request.id} does not survive decoding and encoding, and the server takes prompts "
            "as strings only",
            "Use a server that takes token ids (vLLM, SGLang), VLLMGenerator or TransformersGenerator",
        )

    def fields(self, request: GenerationRequest, settings: SamplingSettings) -> dict[str, Any]:
        """Return the fields of a request except `model`; vLLM's extensions are in `extra_body`."""
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
                # vLLM's defaults come from the model's generation_config.json and may change the distribution.
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
            }
        return fields

    def read(self, payload: object, request: GenerationRequest, settings: SamplingSettings) -> Generation:
        """Decode a server's JSON.

        Raises:
            UnreadableAnswerError: it contains no valid answer.
        """
        choice = first_choice(payload)
        ids = token_ids(choice) if self.dialect.returns_ids else None
        if ids is not None and len(ids) > settings.max_new_tokens:
            raise UnreadableAnswerError(f"the answer has {len(ids)} tokens, more than max_new_tokens")
        reason = choice.get("finish_reason")
        if reason == CONTENT_FILTER:
            return withheld(request, CONTENT_FILTER)  # even with some text: incomplete answers are not judged
        if ids is not None:
            return self._exact(ids, reason, choice, request, settings)
        if self.dialect.returns_ids:
            raise UnreadableAnswerError("the answer has no token_ids")
        text = choice.get("text")
        thought = choice.get("reasoning_content")  # of servers that separate it
        if isinstance(thought, str) and thought.strip():
            text = f"<think>{thought}</think>{text}" if text else f"<think>{thought}"
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
        """Build the answer from the token ids that the server returned; the last one may be the stop token."""
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
        """Build the answer from its text."""
        for stop in self._stop_strings:
            text = text.removesuffix(stop)
        ids = tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        num_tokens = usage(payload, "completion_tokens")
        reason_read = finish(reason, len(ids) if num_tokens is None else num_tokens, settings)
        return Generation(request.id, text, ids, reason_read, reencoded=True)


def withheld(request: GenerationRequest, because: str) -> Generation:
    """Return the placeholder for an answer that a server withholds."""
    return Generation(request.id, "", (), "withheld", withheld_because=because)


def first_choice(payload: object) -> Mapping[str, Any]:
    """Return the first of the `choices`.

    Raises:
        UnreadableAnswerError: there are none.
    """
    choices = payload.get("choices") if isinstance(payload, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise UnreadableAnswerError("the answer has no choices")
    return choices[0]


def token_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """Return the answer's token ids, or None if the server returned none."""
    ids = choice.get("token_ids")
    if isinstance(ids, list) and all(type(token) is int and 0 <= token < 2**31 for token in ids):
        return ids
    return None


def usage(payload: object, name: str) -> int | None:
    """Return the server's count `name`, or None if it reports none."""
    counts = payload.get("usage") if isinstance(payload, Mapping) else None
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) else None


def finish(reason: object, num_tokens: int, settings: SamplingSettings) -> FinishReason:
    """Map a server's finish reason to ours; without one, an answer of `max_new_tokens` counts as cut.

    Raises:
        UnreadableAnswerError: the server aborted the request, as vLLM's `abort` says.
    """
    if reason is None or reason == "":
        return "length" if num_tokens >= settings.max_new_tokens else "stop"
    if isinstance(reason, str) and reason in _STOPPED:
        return "stop"
    if isinstance(reason, str) and reason in _CUT:
        return "length"
    raise UnreadableAnswerError(f"the server ended the answer with the reason {str(reason)[:40]!r}")


def read_logprobs(choice: Mapping[str, Any], num_tokens: int, num_top: int) -> tuple[TokenLogprobs, ...]:
    """Return one entry per token, from lists whose tokens are written `token_id:N`.

    Raises:
        UnreadableAnswerError: the lists are missing, or their length is not `num_tokens`.
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
    """Return the `num_top` most likely tokens; the server also lists the chosen token, whatever its rank."""
    try:
        pairs = [(int(token.removeprefix(_TOKEN_ID)), float(value)) for token, value in top.items()]
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableAnswerError(f"a list of log-probabilities cannot be read: {error}") from error
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:num_top])
