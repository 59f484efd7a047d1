"""Conversion of conversations to token ids with a response mask, for any chat template."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import TemplateSyntaxError

from grsap.errors import ConfigError, TemplateError
from grsap.files import hash_json
from grsap.records import Message
from grsap.text.control_tokens import ControlTokens
from grsap.text.rendering import DateError, RunawayError, render
from grsap.text.segments import SegmentEncoder
from grsap.text.thought_tokens import decode_answer, thought_tokens
from grsap.text.turn_probes import (
    ANSWER,
    PROBE,
    RefusedTurnsError,
    check_turns_are_written,
    find_turn_end,
    find_turn_marks,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LossOn = Literal["assistant", "last_assistant", "all"]
"""Which tokens are supervised: all assistant turns, the last one, or every token but the first."""

_OTHER_TEMPLATE = "Correct it, or use another one: set chat_template to a file"
_MAX_OPENING = 200
"""Characters before an answer to search for its beginning, which the generation prompt may have written."""

_RESERVED = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "sanitize_control_tokens",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)


@dataclass(frozen=True)
class TokenizedConversation:
    """A conversation as token ids; `supervised` is True for each token that is a target."""

    input_ids: list[int]
    supervised: list[bool]


class ChatTemplate:
    """A tokenizer's chat template with fixed settings, shared by training, checks, judges and evaluation.

    The response mask is computed from rendered prefixes: an assistant turn begins at the end of the prompt before it,
    generation prompt included, and ends with its turn-end tokens, which are supervised. Text that the template writes
    after them is not. The beginning-of-sequence token is written by the template only, and never added again.

    Control tokens spelled by untrusted text stay plain text: in every prompt, and in the system and user turns of a
    training row. Its answers are trusted: `<think>` or `<tool_call>` in them become control tokens, as with
    `apply_chat_template`. Only the template's turn markers stay text in answers too, because they would end the turn.

    Args:
        tokenizer: tokenizer with a chat template.
        chat_template_kwargs: variables of the template, such as `enable_thinking` or `date_string`; JSON values.

    Attributes:
        hash: hash of the template's text and its settings.
        stop_token_ids: tokens that end an answer: the tokenizer's end of sequence and the template's end of turn.
        pad_token_id: padding token of the tokenizer, or its end of sequence if it has none.

    Raises:
        TemplateError: there is no chat template; or it prints the current date, does not end, or omits the text of a
            turn; or its assistant turns have no end, or a different one if a user turn follows.
        ConfigError: a setting is reserved by transformers, or no JSON value.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_template_kwargs: dict[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self._kwargs = dict(chat_template_kwargs or {})
        self._template = _template_text(tokenizer)
        self.hash = _settings_hash(self._template, self._kwargs)
        self._content_in_parts = False
        self._written: set[tuple[str, ...]] = set()
        probe = self._find_content_form()
        self._control = ControlTokens(tokenizer, self._template + probe)
        self._segments = SegmentEncoder(tokenizer, self._control)
        self._turn_end = find_turn_end(probe, self._render_whole, self._control.pattern, tokenizer.eos_token)
        turn_end_id = self._first_end_id()
        self._turn_marks = self._control.turn_marks(find_turn_marks(self._render_whole, self._control.pattern))
        eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        self.stop_token_ids: frozenset[int] = frozenset({turn_end_id} if eos is None else {turn_end_id, eos})
        self._thought_tokens = thought_tokens(tokenizer)
        self.pad_token_id: int = pad if pad is not None else eos if eos is not None else turn_end_id

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """Return the text that `prompt_ids` encodes, for prompts whose untrusted parts are inserted later.

        Control tokens in `messages` are not neutralised.

        Raises:
            TemplateError: the template refuses the conversation.
        """
        return self._render(messages, prompt=True)

    def prompt_ids(self, messages: Sequence[Message], prefill: str = "") -> list[int]:
        """Return the ids of the prompt for an answer to `messages`, generation prompt included.

        Args:
            messages: all messages before the answer.
            prefill: beginning of the answer, which the model continues.

        Raises:
            TemplateError: the template refuses the conversation.
            DataError: a message contains a control token of one character.
        """
        self._check_written(messages)
        answer: Message = {"role": "assistant", "content": prefill}
        turns, mark = self._control.neutralise([*messages, answer])
        prompt = self._render(turns[:-1], prompt=True)
        segments = self._segments.encode(prompt + turns[-1]["content"], [len(prompt)], mark)
        return [token for segment in segments for token in segment]

    def open_turn_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids up to the end of the last message's text, so that the model continues that turn.

        With an empty text this is the template's header of the turn, as in Magpie (Xu et al. 2024, arXiv 2406.08464).

        Args:
            messages: the last one is the user's; its text may be empty.

        Raises:
            TemplateError: the template refuses the conversation, or changes the text of a turn.
            DataError: a message contains a control token of one character.
        """
        turns, mark = self._control.neutralise(messages)
        head = self._around_last_turn(turns)[0]
        segments = self._segments.encode(head + turns[-1]["content"], [len(head)], mark)
        return [token for segment in segments for token in segment]

    def read_open_turn(self, messages: Sequence[Message], text: str, ids: Sequence[int]) -> tuple[str, bool]:
        """Extract the text of an open turn from the model's output.

        Args:
            messages: as for `open_turn_ids`.
            text: the model's output.
            ids: token ids of `text`, without stop token.

        Returns:
            The text up to the end of the turn, and whether the model continued after it.
        """
        end = next((place for place, token in enumerate(ids) if token in self._control.ids), len(ids))
        if end < len(ids):
            text = self.decode(ids[:end])
        # Some templates (OLMo's) end a user turn with plain text.
        suffix = self._around_last_turn(self._control.neutralise(messages)[0])[1].strip()
        marker = suffix.splitlines()[0] if suffix and not self._control.pattern.match(suffix) else ""
        before, found, _ = text.partition(marker) if marker else (text, "", "")
        return before, bool(found) or end < len(ids)

    def encode(self, messages: Sequence[Message], loss_on: LossOn = "assistant") -> TokenizedConversation:
        """Return the ids of a whole conversation and its supervised tokens; the assistant's turns are trusted.

        The ids before the first assistant turn equal `prompt_ids` of the messages before it.

        Raises:
            TemplateError: the template refuses the conversation, or the tokens of a supervised turn cannot be located;
                the message contains a remedy.
            DataError: a turn contains a control token of one character, or half of a surrogate pair.
        """
        messages, mark = self._control.neutralise(messages, in_answers=self._turn_marks)
        full = self._render_whole(messages)
        if loss_on == "all":
            self._check_written(messages)
            (ids,) = self._segments.encode(full, [], mark)
            return TokenizedConversation(ids, [position > 0 for position in range(len(ids))])
        if self._turn_end.fault is not None:
            raise self._turn_end.fault
        turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        if loss_on == "last_assistant":
            turns = turns[-1:]
        cuts = [cut for number in turns for cut in self._span(messages, number, full)]
        self._check_written(messages)
        input_ids: list[int] = []
        supervised: list[bool] = []
        for number, segment in enumerate(self._segments.encode(full, cuts, mark)):
            input_ids += segment
            supervised += [number % 2 == 1] * len(segment)
        return TokenizedConversation(input_ids, supervised)

    def spells_turn_mark(self, text: str) -> bool:
        """Return whether an answer spells one of the template's turn markers, which is learned as plain text."""
        return self._turn_marks.search(text) is not None

    def spells_control_token(self, text: str) -> bool:
        """Return whether the text spells a token that only the template may write."""
        return self._control.pattern.search(text) is not None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens except those that mark thoughts."""
        return decode_answer(self.tokenizer, ids, self._thought_tokens)

    def _render(self, messages: Sequence[Message], *, prompt: bool) -> str:
        turns = [{"role": str(m["role"]), "content": self._content(m["content"])} for m in messages]
        variables = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": prompt}
        try:
            return render(self._template, {**self.tokenizer.special_tokens_map, **self._kwargs, **variables})
        except RunawayError as error:
            raise TemplateError(f"the chat template runs away: {error}", _OTHER_TEMPLATE) from error
        except DateError as error:
            raise _date_error(self._template) from error
        except TemplateSyntaxError as error:
            raise TemplateError(
                f"the chat template is not valid Jinja (line {error.lineno}: {error.message})", _OTHER_TEMPLATE
            ) from error
        except Exception as error:  # a template is a program and may raise anything
            roles = ", ".join(message["role"] for message in messages) or "none"
            raise RefusedTurnsError(
                f"the chat template refuses a conversation with the roles {roles}: {error or type(error).__name__}",
                "Put a system text into the first user turn if the template has no system role, or set the tokenizer's "
                "chat template to one that takes these roles",
            ) from error

    def _render_whole(self, messages: Sequence[Message]) -> str:
        return self._render(messages, prompt=False)

    def _check_written(self, messages: Sequence[Message]) -> None:
        """Check once per sequence of roles that the template writes the text of each turn."""
        roles = tuple(message["role"] for message in messages)
        if roles not in self._written:
            check_turns_are_written(roles, self._render_whole)
            self._written.add(roles)

    def _content(self, text: str) -> str | list[dict[str, str]]:
        return [{"type": "text", "text": text}] if self._content_in_parts else text

    def _find_content_form(self) -> str:
        """Render the probe; templates of multimodal models (Llama Guard 4) may require content as a list of parts."""
        for self._content_in_parts in (False, True):
            with contextlib.suppress(RefusedTurnsError):
                probe = self._render(PROBE, prompt=False)
                if ANSWER in probe:
                    return probe
        self._content_in_parts = False
        return self._render(PROBE, prompt=False)

    def _around_last_turn(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Return what the template writes before and after the last message's text."""
        probe: Message = {"role": messages[-1]["role"], "content": PROBE[0]["content"]}
        head, found, suffix = self._render([*messages[:-1], probe], prompt=True).rpartition(probe["content"])
        if not found:
            raise TemplateError(
                "the chat template changes the text of a user turn, so that the turn cannot be left open",
                "Use an elicitation that uses the assistant's turn",
            )
        return head, suffix

    def _first_end_id(self) -> int:
        """Return the id of the first token that ends an assistant turn; check that each of them is one token."""
        ids = [self._segments.encode(token, [], "\0")[0] for token in self._turn_end.tokens]
        for token, pieces in zip(self._turn_end.tokens, ids, strict=True):
            if len(pieces) != 1:
                raise TemplateError(
                    f"the turn-end token {token!r} is encoded as {len(pieces)} tokens",
                    "Load the tokenizer with split_special_tokens=False",
                )
        return ids[0][0]

    def _span(self, messages: Sequence[Message], number: int, full: str) -> tuple[int, int]:
        """Return start and end of the supervised text of assistant turn `number` in `full`, in characters."""
        prompt = self._render(messages[:number], prompt=True)
        turn = full if number == len(messages) - 1 else self._render(messages[: number + 1], prompt=False)
        if not turn.startswith(prompt):
            raise TemplateError(
                f"the chat template renders the text before turn {number + 1} differently for generation and training",
                self._prompt_remedy(messages[: number + 1]),
            )
        start, end = len(prompt), turn.rfind(self._turn_end.text) + len(self._turn_end.text)
        if end - len(self._turn_end.text) < start:
            raise TemplateError(
                f"the chat template ends turn {number + 1} without its turn-end token {self._turn_end.text!r}",
                "Set the tokenizer's chat template to one that ends all assistant turns alike",
            )
        if not full.startswith(turn[:end]):
            raise TemplateError(
                f"the chat template renders turn {number + 1} differently once other turns follow it",
                "Set loss_on: last_assistant, split the conversation into rows with one answer each, or set the "
                "tokenizer's chat template to one that leaves past turns unchanged",
            )
        self._check_answer(messages[number]["content"], number, full[max(0, start - _MAX_OPENING) : end])
        return start, end

    def _check_answer(self, answer: str, number: int, written: str) -> None:
        """Raise TemplateError if the template omits part of a trained answer, such as its thought."""
        # The prompt may contain the answer's beginning, such as <think>. Templates may change white space.
        if "".join(answer.split()) not in "".join(written.split()):
            raise TemplateError(
                f"the chat template does not write the whole answer of turn {number + 1} ({answer[:40]!r}...)",
                "Remove what it leaves out, such as a thought, from the row, or set another chat template",
            )

    def _prompt_remedy(self, messages: Sequence[Message]) -> str:
        rest = messages[1:]
        system_at_fault = messages[0]["role"] == "system" and self._render(rest, prompt=False).startswith(
            self._render(rest[:-1], prompt=True)
        )
        if system_at_fault:
            return "Put the system text into the first user turn, or set another chat template on the tokenizer"
        switches = [name for name in ("enable_thinking", "thinking") if name in self._template]
        if not switches:
            return "Set another chat template on the tokenizer: this one has no switch for it"
        return (
            "Set chat_template_kwargs so that the generation prompt adds nothing that the turn lacks (such as "
            f"{switches[0]}), or set another chat template on the tokenizer"
        )


def _template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        return str(tokenizer.get_chat_template()).removeprefix("\ufeff")  # a byte-order mark is no text
    except ValueError as error:
        raise TemplateError(
            f"the tokenizer of {tokenizer.name_or_path or 'the base model'} has no chat template",
            "Use an instruction-tuned model, or save its tokenizer with the attribute chat_template set",
        ) from error


def _settings_hash(template: str, kwargs: Mapping[str, Any]) -> str:
    if taken := sorted(_RESERVED & kwargs.keys()):
        raise ConfigError(
            f"chat_template_kwargs must not hold {', '.join(taken)}", "Keep to variables that the chat template reads"
        )
    try:
        return hash_json({"template": template, "kwargs": kwargs})
    except TypeError as error:
        raise ConfigError(f"chat_template_kwargs: {error}", "Put the value in quotes to make it a string") from error


def _date_error(template: str) -> TemplateError:
    remedy = "Set the tokenizer's chat template to one without strftime_now"
    if "date_string" in template:
        remedy = 'Set chat_template_kwargs: {date_string: "26 Jul 2024"}, or any other fixed date'
    return TemplateError("the chat template writes the current date, so rows would differ from day to day", remedy)
