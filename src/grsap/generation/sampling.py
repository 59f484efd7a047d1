"""Choice of the next token of each row of a batch, from its logits.

Shapes: B rows, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grsap.generation.base import SamplingSettings, TokenLogprobs


def row_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one random stream per row, on the CPU, so that draws depend neither on the batch nor on the device."""
    return [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]


def next_tokens(logits: Tensor, settings: SamplingSettings, generators: Sequence[torch.Generator]) -> Tensor:
    """Choose one token per row.

    Args:
        logits: (B, V).
        settings: greedy when `temperature` is 0.
        generators: B random streams, each drawn from once; unused if greedy.

    Returns:
        (B,) int64.
    """
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.double() / settings.temperature, dim=-1)
    if settings.top_p < 1:
        probabilities = nucleus(probabilities, settings.top_p)
    draws = torch.stack([torch.rand((), generator=generator, dtype=torch.float64) for generator in generators])
    # Inverse transform in vocabulary order, not sorted by probability: rounding, which depends on the batch, moves the
    # steps of the cumulative sum slightly but cannot reorder them.
    sums = probabilities.cumsum(dim=-1)
    draws = draws.to(logits.device) * sums[:, -1]
    chosen = torch.searchsorted(sums, draws[:, None], right=True).squeeze(-1)
    return chosen.clamp(max=logits.shape[-1] - 1)


def token_logprobs(logits: Tensor, tokens: Tensor, num_top: int) -> list[TokenLogprobs]:
    """Return log-probabilities of the chosen tokens and of the `num_top` most likely ones, one entry per row.

    Args:
        logits: (B, V), as the model returns them.
        tokens: (B,) chosen tokens.
        num_top: at least 0; values above V count as V.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1).tolist()
    values, ids = (each.tolist() for each in logprobs.topk(min(num_top, logits.shape[-1]), dim=-1))
    return [
        TokenLogprobs(one, tuple(zip(row_ids, row_values, strict=True)))
        for one, row_ids, row_values in zip(chosen, ids, values, strict=True)
    ]


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Set to zero all but the smallest set of most likely tokens whose probability reaches `top_p`.

    Holtzman et al. 2020, arXiv 1904.09751. Shapes: (B, V) to (B, V); the result is not normalised.
    """
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    outside = ranked.cumsum(dim=-1) - ranked >= top_p
    return probabilities.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), 0.0)
