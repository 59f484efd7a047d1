"""Batches of requests of similar length."""

from __future__ import annotations

from collections.abc import Sequence


def batch_by_length(lengths: Sequence[int], max_new_tokens: int, max_batch_tokens: int) -> list[list[int]]:
    """Group prompts of similar length, longest first, to minimize padding.

    The tokens of a batch are its number of prompts times (longest prompt + `max_new_tokens`): the final size of the KV
    cache. Grouping the prompts of one batch again gives that same batch.

    Args:
        lengths: number of tokens of each prompt.
        max_new_tokens: upper limit of generated tokens per prompt.
        max_batch_tokens: upper limit of tokens per batch; a prompt that exceeds it alone forms a batch by itself.

    Returns:
        Indices into `lengths`, each exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    limit = 0
    for index in order:
        if not batches or len(batches[-1]) >= limit:
            batches.append([])
            limit = max(1, max_batch_tokens // max(1, lengths[index] + max_new_tokens))
        batches[-1].append(index)
    return batches
