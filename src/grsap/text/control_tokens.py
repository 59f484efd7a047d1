"""Protection of control tokens: untrusted text that spells a control token of the chat template stays plain text.

transformers has `apply_chat_template(..., sanitize_control_tokens=True)` only since 5.23, and returns no positions of
turns. This module applies the same protection to the text, for all versions, with known positions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from grsap.errors import DataError
from grsap.records import Message, check_unicode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Unicode noncharacters: not valid in exchanged text, in no tokenizer's vocabulary, and not stripped by templates.
_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


class ControlTokens:
    """The tokens that only the chat template may write.

    These are the tokenizer's special tokens, the added tokens in the template's text (Qwen 3's `<think>` is an added
    token that is not special), and those in the tokenizer's `chat_control_tokens`.

    Args:
        tokenizer: tokenizer with the added tokens.
        template_text: the chat template and an example rendering.

    Attributes:
        pattern: matches any of these tokens, the longest first.
        ids: their ids, except that of the unknown token, which ordinary text may contain.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template_text: str) -> None:
        listed = set(getattr(tokenizer, "chat_control_tokens", None) or ())
        tokens = {
            token.content: number
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special
            or token.content in listed
            or (token.content in template_text and not token.content.isspace())
        }
        self.pattern = _any_of(tokens)
        self.ids = frozenset(tokens.values()) - {tokenizer.unk_token_id}
        named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
        self._never_own = {token for token in tokens if token in listed or token in named}

    def turn_marks(self, written: Collection[str]) -> re.Pattern[str]:
        """Return a pattern of the control tokens that only the template may write, even in trained answers.

        All others (`<think>`, `<tool_call>`) may be part of an answer.

        Args:
            written: control tokens that the template writes around turns.
        """
        return _any_of({*self._never_own, *written})

    def neutralise(
        self, messages: Sequence[Message], in_answers: re.Pattern[str] | None = None
    ) -> tuple[list[Message], str]:
        """Split every control token that a message spells, after its first character.

        Args:
            messages: any messages.
            in_answers: pattern of the tokens to split in the assistant's messages; by default all control tokens.

        Returns:
            The messages, and the mark inserted at each split: the text before and after it is encoded separately.

        Raises:
            DataError: a control token of one character cannot be split, or a text contains half of a surrogate pair.
        """
        check_unicode(messages)
        text = "".join(message["content"] for message in messages)
        mark = next((mark for mark in _NONCHARACTERS if mark not in text), None)
        if mark is None:
            raise DataError("a message holds all noncharacters from U+FDD0 to U+FDEF", "Remove them from the text")
        if not self.pattern.search(text):
            # Two adjacent messages cannot form a token together, because the template writes text between them.
            return list(messages), mark
        patterns = {"assistant": in_answers or self.pattern}
        return [
            {**message, "content": _cut(message["content"], patterns.get(message["role"], self.pattern), mark)}
            for message in messages
        ], mark


def _any_of(tokens: Collection[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _cut(content: str, pattern: re.Pattern[str], mark: str) -> str:
    while match := pattern.search(content):
        token = match[0]
        if len(token) == 1:
            raise DataError(
                f"a message holds {token!r}, which this tokenizer always reads as a control token",
                "Remove the character from the text",
            )
        content = pattern.sub(lambda found: found[0][0] + mark + found[0][1:], content)
    return content
