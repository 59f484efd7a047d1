"""Show the rows of a batch as text with their response mask."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.text import Text

from grsap.data import StepBatch
from grsap.streams import printable
from grsap.text.collation import MicroBatch

OPEN, CLOSE = "⟦", "⟧"
"""Enclose supervised tokens where there is no colour."""

TEXT_OPEN, TEXT_CLOSE = "‹", "›"
"""Enclose plain text that spells a special token."""


@dataclass(frozen=True)
class MaskedRow:
    """A row as pieces of text, each with whether its tokens are supervised."""

    id: str
    source: str
    num_tokens: int
    num_targets: int
    pieces: tuple[tuple[str, bool], ...]


def masked_rows(batch: StepBatch, decode: Callable[[Sequence[int]], str]) -> list[MaskedRow]:
    """Return the rows of a step on this device, in the order of the micro-batches.

    Args:
        batch: a step.
        decode: token ids -> text, including special tokens.
    """
    return [row for micro_batch in batch.micro_batches for row in _rows(micro_batch, decode)]


def readable(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """Return a decoder that keeps special tokens and marks plain text that spells one."""
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    longest_first = sorted(added.values(), key=len, reverse=True)
    spelled = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def decode(ids: Sequence[int]) -> str:
        text = str(tokenizer.decode(list(ids)))
        if len(spelled.findall(text)) <= sum(number in added for number in ids):
            return text
        pieces = []
        for is_added, group in groupby(ids, key=lambda number: number in added):
            if is_added:
                pieces += [added[number] for number in group]
            else:
                text = str(tokenizer.decode(list(group)))
                pieces.append(spelled.sub(lambda match: f"{TEXT_OPEN}{match[0]}{TEXT_CLOSE}", text))
        return "".join(pieces)

    return decode


def _rows(batch: MicroBatch, decode: Callable[[Sequence[int]], str]) -> list[MaskedRow]:
    width = batch.input_ids.shape[1]
    # Logits at position i predict the token at i + 1.
    supervised = {int(position) + 1 for position in batch.target_positions}
    rows = []
    for row_id, source, span in zip(batch.row_ids, batch.sources, batch.spans, strict=True):
        first = span.batch_index * width + span.start
        ids = batch.input_ids[span.batch_index, span.start : span.start + span.length].tolist()
        mask = [first + offset in supervised for offset in range(span.length)]
        pieces = []
        for value, group in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
            pieces.append((decode([token for token, _ in group]), value))
        rows.append(MaskedRow(row_id, source, span.length, sum(mask), tuple(pieces)))
    return rows


def render(row: MaskedRow, colour: bool) -> Text:
    """Format a row for the terminal: supervised tokens are green, or in brackets where there is no colour."""
    heading = f"[{row.source}] {row.id}: {row.num_tokens} tokens, {row.num_targets} supervised\n"
    text = Text.assemble((heading, "bold"))
    for piece, supervised in row.pieces:
        clean = printable(piece, keep="\n\t")
        if supervised and not colour:
            clean = f"{OPEN}{clean}{CLOSE}"
        text.append(clean, style="green" if supervised else "")
    if not row.pieces or not row.pieces[-1][0].endswith("\n"):
        text.append("\n")
    return text
