"""Common prefix of the prompts of a batch, run through the model once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from grsap.generation.kv_cache import growing_cache

MIN_PREFIX = 8
"""Shortest common prefix, in tokens, that is worth a separate forward pass."""


def shared_prefix_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return the length of the prompts' common prefix, at least one token shorter than each; 0 if below `MIN_PREFIX`.

    One token per prompt is left for the next pass, which returns the logits of the first answer token.
    """
    if len(prompts) < 2:
        return 0
    shortest = min(map(len, prompts))
    places = enumerate(zip(*prompts, strict=False))
    length = min(next((place for place, tokens in places if len(set(tokens)) > 1), shortest), shortest - 1)
    return length if length >= MIN_PREFIX else 0


def prefix_cache(model: nn.Module, prefix: Sequence[int], num_rows: int, device: torch.device) -> DynamicCache | None:
    """Return the KV cache of `prefix` repeated for `num_rows` rows; None if the model's cache cannot be shared.

    Rows of unequal length are padded between the prefix and the rest. Full attention masks that padding; a sliding
    window would count it, and a recurrent state would absorb it.
    """
    cache = growing_cache(model)
    if cache is None:
        return None
    model(
        input_ids=torch.tensor([list(prefix)], device=device),
        attention_mask=torch.ones(1, len(prefix), dtype=torch.long, device=device),
        position_ids=torch.arange(len(prefix), device=device)[None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    cache.batch_repeat_interleave(num_rows)
    return cache
