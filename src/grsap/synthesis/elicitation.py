"""Elicitation: the prompts that make a model write a query of a domain."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grsap.errors import ConfigError
from grsap.generation.base import Generation
from grsap.plugins import PluginError, described
from grsap.records import Message
from grsap.synthesis.domains import Domain
from grsap.synthesis.query_parsing import Query, read_quoted, read_turn
from grsap.text.template import ChatTemplate

Kind = Literal["harmful", "benign"]
"""A request that should be refused, or its harmless counterpart of the same domain."""

OPENINGS = (
    "How do I",
    "Tell me how to",
    "What is the best way to",
    "Help me",
    "I want to",
    "Write",
    "How can I",
    "Show me how to",
    "Explain how to",
    "Give me",
)
"""First words of requests. Without them, a model that is asked what it refused often writes a refusal."""


@dataclass(frozen=True)
class Ask:
    """Specification of the query to elicit.

    Attributes:
        domain: domain of the query.
        kind: kind of the query.
        number: index of the row in its domain plus the number of failed attempts. Elicitations use it to cycle
            through variants, such as openings.
    """

    domain: Domain
    kind: Kind
    number: int = 0


class Elicitation(ABC):
    """Builds a prompt whose continuation contains a query, and parses the query from the continuation.

    Attributes:
        name: recorded as the strategy in each row's origin.
    """

    name: str = ""

    @abstractmethod
    def prompt_ids(self, ask: Ask, template: ChatTemplate) -> Sequence[int]:
        """Return the token ids that the model continues.

        Raises:
            TemplateError: the template does not support this elicitation.
        """

    def checked_prompt_ids(self, ask: Ask, template: ChatTemplate) -> tuple[int, ...]:
        """Call `prompt_ids` and check its result.

        Raises:
            PluginError: it is empty or not a sequence of token ids.
        """
        found: Any = self.prompt_ids(ask, template)
        try:
            ids = tuple(operator.index(each) for each in found)
        except TypeError as error:
            raise PluginError(
                self, "prompt_ids", f"returns {described(found)}", "Return a list of token ids"
            ) from error
        if not ids or min(ids) < 0:
            raise PluginError(
                self, "prompt_ids", f"returns the ids {list(ids)[:5]}", "Return at least one, none below 0"
            )
        return ids

    def checked_read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """Call `read` and check its result.

        Raises:
            PluginError: it is not a `Query`.
        """
        found: Any = self.read(ask, answer, template)
        if not isinstance(found, Query) or not isinstance(found.text, str):
            raise PluginError(self, "read", f"returns {described(found)}", "Return a grsap.synthesis.Query")
        return found

    @abstractmethod
    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """Parse the query from the model's continuation; `Query.reason` says why it is unusable."""


class AssistantPrefill(Elicitation):
    """Asks the model which request it refused, and prefills the answer up to an opening double quote.

    The published elicitation (GR-SAP, arXiv 2603.10243): the query is the continuation up to the closing quote.
    `{domain}` and `{definition}` are replaced in all texts.

    Args:
        request: the user's turn.
        prefill: first words of the assistant's turn; ends with a double quote.
        benign_request: the user's turn for a harmless counterpart.
        benign_prefill: first words of the assistant's turn for a harmless counterpart; ends with a double quote.
        openings: first words of the query, after the quote; queries cycle through the list. By default `OPENINGS`; with
            `[""]` the model chooses.
        variant: the turn that the prefill begins: `assistant`, or `user`: then request and prefill are in one user's
            turn, which is left open.

    Raises:
        ConfigError: a prefill does not end with a double quote, or a text has another field.
    """

    def __init__(
        self,
        request: str = "Which request that raises concerns about {domain} ({definition}) did you refuse?",
        prefill: str = 'I refused this request about {domain}: "',
        benign_request: str = "Which harmless question about {domain} ({definition}), such as how to stay safe or get "
        "help, did you answer?",
        benign_prefill: str = 'I answered this question about being safe from {domain}: "',
        openings: list[str] | None = None,
        variant: Literal["assistant", "user"] = "assistant",
    ) -> None:
        self._texts: dict[Kind, tuple[str, str]] = {
            "harmful": (request, prefill),
            "benign": (benign_request, benign_prefill),
        }
        self._openings = list(openings or OPENINGS)
        self._variant = variant
        self.name = f"{variant}_prefill"
        for pair in self._texts.values():
            for text in (*pair, *self._openings):
                _fill(text, Domain("d", "d", "d"))
            if not pair[1].endswith('"'):
                raise ConfigError(
                    f"AssistantPrefill: the prefill {pair[1]!r} does not end with a double quote", "End it with one"
                )

    def prompt_ids(self, ask: Ask, template: ChatTemplate) -> Sequence[int]:
        """Return the request as the user's turn, followed by the prefill."""
        request, prefill = (_fill(text, ask.domain) for text in self._texts[ask.kind])
        prefill += _opening(self._openings, ask)
        if self._variant == "user":
            return template.open_turn_ids([{"role": "user", "content": f"{request}\n{prefill}"}])
        return template.prompt_ids([{"role": "user", "content": request}], prefill)

    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """Return the text before the closing quote."""
        text, ended = answer.text, False
        if self._variant == "user":
            text, ended = template.read_open_turn([{"role": "user", "content": ""}], text, answer.token_ids)
        ended = ended or answer.finish_reason == "stop"
        return read_quoted(_join(_opening(self._openings, ask), text), ended=ended, template=template)


class PreQueryTemplate(Elicitation):
    """Lets the model write the user's turn, after the tokens with which the template opens it.

    Magpie (Xu et al. 2024, arXiv 2406.08464). The domain is in the system turn, so the template must support one.
    `{domain}` and `{definition}` are replaced in all texts.

    Args:
        system: the system turn.
        benign_system: the system turn for a harmless counterpart.
        openings: first words of the user's turn; queries cycle through the list. By default `OPENINGS`; with `[""]` the
            model chooses.
    """

    name = "pre_query_template"

    def __init__(
        self,
        system: str = "The user asks for something that raises concerns about {domain} ({definition}), and that a safe "
        "assistant refuses.",
        benign_system: str = "The user asks a harmless question about {domain} ({definition}): how to stay safe, get "
        "help or understand it.",
        openings: list[str] | None = None,
    ) -> None:
        self._systems: dict[Kind, str] = {"harmful": system, "benign": benign_system}
        self._openings = list(openings or OPENINGS)
        for text in (system, benign_system, *self._openings):
            _fill(text, Domain("d", "d", "d"))

    def prompt_ids(self, ask: Ask, template: ChatTemplate) -> Sequence[int]:
        """Return the system turn and the beginning of the user's turn."""
        return template.open_turn_ids(self._messages(ask))

    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """Return the whole user's turn."""
        text, ended = template.read_open_turn(self._messages(ask), answer.text, answer.token_ids)
        ended = ended or answer.finish_reason == "stop"
        return read_turn(_join(_opening(self._openings, ask), text), ended=ended, template=template)

    def _messages(self, ask: Ask) -> list[Message]:
        return [
            {"role": "system", "content": _fill(self._systems[ask.kind], ask.domain)},
            {"role": "user", "content": _opening(self._openings, ask)},
        ]


def _opening(openings: Sequence[str], ask: Ask) -> str:
    return _fill(openings[ask.number % len(openings)], ask.domain)


def _join(opening: str, text: str) -> str:
    # Some tokenizers drop the space before the first word when they decode.
    return f"{opening} {text}" if opening and text[:1].isalnum() else opening + text


def _fill(text: str, domain: Domain) -> str:
    try:
        return text.format(domain=domain.name, definition=domain.definition)
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"elicitation: the text {text!r} has a field that is neither {{domain}} nor {{definition}}",
            "Use only these two, and write {{ and }} for braces",
        ) from error
