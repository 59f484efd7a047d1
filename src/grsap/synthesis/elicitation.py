"""How a model is brought to write a query of a domain."""

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
"""What is asked for: a request that should be refused, or its harmless counterpart of the same domain."""

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
"""First words of requests. Without them a model that is asked what it refused often writes its refusal."""


@dataclass(frozen=True)
class Ask:
    """What is asked for.

    Attributes:
        domain: of the query.
        kind: of the query.
        number: counts a domain's rows and, for each, its attempts: what an elicitation may vary goes round by it.
    """

    domain: Domain
    kind: Kind
    number: int = 0


class Elicitation(ABC):
    """Writes the prompt whose continuation holds a query, and reads the query out of it.

    Attributes:
        name: recorded in each row's origin as its strategy.
    """

    name: str = ""

    @abstractmethod
    def prompt_ids(self, ask: Ask, template: ChatTemplate) -> Sequence[int]:
        """Token ids that the model continues.

        Raises:
            TemplateError: this template cannot be used so.
        """

    def checked_prompt_ids(self, ask: Ask, template: ChatTemplate) -> tuple[int, ...]:
        """What `prompt_ids` returns.

        Raises:
            PluginError: it is no sequence of token ids, or an empty one.
        """
        found: Any = self.prompt_ids(ask, template)
        try:
            ids = tuple(operator.index(each) for each in found)
        except TypeError as error:
            raise PluginError(
                self, "prompt_ids", f"returns {described(found)}", "Return a list of token ids"
            ) from error
        if not ids or min(ids) < 0:
            raise PluginError(self, "prompt_ids", f"returns the ids {list(ids)[:5]}", "Return at least one, from 0 on")
        return ids

    def checked_read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """What `read` returns.

        Raises:
            PluginError: it is no `Query`.
        """
        found: Any = self.read(ask, answer, template)
        if not isinstance(found, Query) or not isinstance(found.text, str):
            raise PluginError(self, "read", f"returns {described(found)}", "Return a grsap.synthesis.Query")
        return found

    @abstractmethod
    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """The query in what the model wrote, or why it is unusable."""


class AssistantPrefill(Elicitation):
    """Asks the model which request it refused, and begins the answer up to an opening double quote.

    The published elicitation (GR-SAP, arXiv 2603.10243): what the model writes up to the closing quote is the query. In
    all texts `{domain}` and `{definition}` are filled in.

    Args:
        request: the user's turn.
        prefill: how the assistant's turn begins; ends with a double quote.
        benign_request: the user's turn for a harmless counterpart.
        benign_prefill: how the assistant's turn begins then; ends with a double quote.
        openings: first words of the query, put behind the quote in turn; by default `OPENINGS`. With `[""]` the model
            finds its own.
        variant: whose turn the prefill begins: `assistant`, or `user`, where request and prefill are together in a
            user's turn that is left open.

    Raises:
        ConfigError: a prefill does not end with a double quote, or a text names another field.
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
        """The request as the user's turn, then the beginning of the answer."""
        request, prefill = (_fill(text, ask.domain) for text in self._texts[ask.kind])
        prefill += _opening(self._openings, ask)
        if self._variant == "user":
            return template.open_turn_ids([{"role": "user", "content": f"{request}\n{prefill}"}])
        return template.prompt_ids([{"role": "user", "content": request}], prefill)

    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """The text before the closing quote."""
        text, ended = answer.text, False
        if self._variant == "user":
            text, ended = template.read_open_turn([{"role": "user", "content": ""}], text, answer.token_ids)
        ended = ended or answer.finish_reason == "stop"
        return read_quoted(_join(_opening(self._openings, ask), text), ended=ended, template=template)


class PreQueryTemplate(Elicitation):
    """Lets the model write the user's turn itself, after the template's bare beginning of it.

    Magpie (Xu et al. 2024, arXiv 2406.08464); the domain is in the system turn, so the template must have one. In
    all texts `{domain}` and `{definition}` are filled in.

    Args:
        system: the system turn.
        benign_system: the system turn for a harmless counterpart.
        openings: first words of the user's turn, taken in turn; by default `OPENINGS`. With `[""]` the model finds its
            own.
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
        """The system turn and the beginning of the user's."""
        return template.open_turn_ids(self._messages(ask))

    def read(self, ask: Ask, answer: Generation, template: ChatTemplate) -> Query:
        """The whole turn."""
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
            "Use those two, and write {{ and }} for braces",
        ) from error
