"""Stop tokens of answers, for models with and without a chat template."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from grsap.errors import ModelError, TemplateError
from grsap.generation.base import Generator
from grsap.text.template import ChatTemplate
from grsap.text.thought_tokens import decode_answer, thought_tokens


class TokenizerText:
    """Ends and decodes answers of a model without a chat template, by the tokenizer's end of sequence.

    Raises:
        ModelError: the tokenizer has no end of sequence.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} has no end-of-sequence token", "Set eos_token on it"
            )
        self.tokenizer = tokenizer
        self._thought_tokens = thought_tokens(tokenizer)
        self.stop_token_ids = frozenset({int(tokenizer.eos_token_id)})
        self.pad_token_id = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens except those that mark thoughts."""
        return decode_answer(self.tokenizer, ids, self._thought_tokens)


DecodingTemplate = ChatTemplate | TokenizerText
"""Ends and decodes answers."""


def decoding_template(generator: Generator) -> DecodingTemplate:
    """Return the chat template of the generator's model, or a `TokenizerText` for a model without one."""
    try:
        return generator.template
    except TemplateError:
        return TokenizerText(generator.tokenizer)
