"""Encoding of rendered text by segments, so that a segment's ids never depend on later text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from grsap.errors import TemplateError
from grsap.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_CACHED_CHARACTERS = 64
_MAX_CACHED_TEXTS = 1024


class SegmentEncoder:
    """Encode a rendered conversation in segments, each in the context of the text before it.

    If the tokenizer would merge the end of one segment and the start of the next into one token, they are encoded
    separately, as in generation, where the model appends its tokens to the prompt's ids. Otherwise the concatenated
    ids equal those of the whole text.

    Args:
        tokenizer: called without special tokens; those of the template are in the text.
        control: tokens that only the template may write.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens) -> None:
        self._tokenizer = tokenizer
        self._control = control
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str, cuts: Sequence[int], mark: str) -> list[list[int]]:
        """Encode a text in segments.

        Args:
            text: rendered text.
            cuts: character positions of the segments' boundaries, ascending.
            mark: the mark that `ControlTokens.neutralise` inserted.

        Returns:
            One list of ids per segment, `len(cuts) + 1` in all.

        Raises:
            TemplateError: the tokenizer encodes plain text as a control token.
        """
        return [self._encode_segment(text, start, end, mark) for start, end in pairwise([0, *cuts, len(text)])]

    def _encode_segment(self, text: str, start: int, end: int, mark: str) -> list[int]:
        first, *rest = text[start:end].split(mark)
        ids = self._encode_after(self._context(text[:start]), first)
        for piece in rest:
            # Encoded after the text before it, the piece would complete the control token: use a newline instead.
            ids += self._encode_after("\n", piece)
        return ids

    def _context(self, before: str) -> str:
        """Return the relevant end of `before`: tokenizers split at added tokens and do not look beyond them."""
        last = None
        for last in self._control.pattern.finditer(before):  # noqa: B007  (only the last is needed)
            pass
        return before if last is None else before[last.start() :]

    def _encode_after(self, context: str, piece: str) -> list[int]:
        if not piece:
            return []
        if not context:
            return self._check(piece, list(self._ids(piece)))
        head, ids = self._ids(context), self._ids(context + piece)
        if ids[: len(head)] == head:
            return self._check(piece, list(ids[len(head) :]))
        # A token spans the cut. Use a newline as context: at the start of a text, SentencePiece would add a space.
        return self._encode_after("" if context == "\n" else "\n", piece)

    def _ids(self, text: str) -> tuple[int, ...]:
        # Generation prompts and turn ends repeat in every row.
        ids = self._cache.get(text)
        if ids is None:
            ids = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            if len(text) <= _MAX_CACHED_CHARACTERS and len(self._cache) < _MAX_CACHED_TEXTS:
                self._cache[text] = ids
        return ids

    def _check(self, piece: str, ids: list[int]) -> list[int]:
        num_written = sum(1 for _ in self._control.pattern.finditer(piece))
        if sum(token in self._control.ids for token in ids) > num_written:
            raise TemplateError(
                f"the tokenizer encodes the plain text {piece[:40]!r} as a control token",
                "Remove it from the row, or use a tokenizer whose control tokens are added tokens",
            )
        return ids
