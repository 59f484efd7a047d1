"""Drops incomplete rows: without text, cut, too short, or with control tokens of a chat template."""

from __future__ import annotations

import re

from grsap.curation.base import RowFilter
from grsap.curation.decision import Decision, keep, query_of, reject, response_of
from grsap.errors import ConfigError
from grsap.records import SafetyRecord

CONTROL_TOKENS = re.compile(
    r"<\|[^\s|<>]{1,40}\|>"  # ChatML, Llama 3, Phi, GPT: <|im_start|>, <|eot_id|>, <|endoftext|>
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"  # Llama 2, Mistral
    r"|</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|think)>"  # Llama 2, Gemma, Qwen 3
)
"""Control tokens in the chat templates of known model families."""


class Completeness(RowFilter):
    """Keeps rows with a complete query and a complete response.

    Reasons: `null_text` (null or blank), `not_unicode` (half of a surrogate pair), `cut_by_length` (the token limit
    ended the response), `control_tokens` (a text spells a token of a chat template), `too_short`. The defaults are
    those of `grsap.synthesis.CompleteAndDistinct`, which counts the complete rows of a synthesis.

    Args:
        min_query_words: least number of words of a query.
        min_response_words: least number of words of a response.
    """

    def __init__(self, min_query_words: int = 3, min_response_words: int = 3) -> None:
        self.min_query_words = min_query_words
        self.min_response_words = min_response_words

    def check(self, where: str) -> None:
        """Raise ConfigError for a negative number."""
        for name in ("min_query_words", "min_response_words"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{where}: {name} is {getattr(self, name)}", "Give at least 0")

    def decide_row(self, row: SafetyRecord) -> Decision:
        """Keep the row if it is complete."""
        texts = [message["content"] or "" for message in row.messages]
        num_words = len(query_of(row).split()), len(response_of(row).split())
        if not all(text.strip() for text in texts):
            return reject("null_text")
        if any(re.search(r"[\ud800-\udfff]", text) for text in texts):
            return reject("not_unicode")
        if row.finish_reason == "length":
            return reject("cut_by_length")
        if any(CONTROL_TOKENS.search(text) for text in texts):
            return reject("control_tokens")
        if num_words[0] < self.min_query_words or num_words[1] < self.min_response_words:
            return reject("too_short")
        return keep()
