"""KL divergence from the base model."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import log_softmax

from grsap.objectives.base import Objective, TokenChunk
from grsap.records import Source


class KLToBase(Objective):
    """Exact KL(base || model) of each next-token distribution.

    The base is the model with its adapter off, so that no second model is in memory; it runs on the rows of `source`
    only. Used as knowledge distillation on replay by Buzzega et al. 2020 (DER) and, for safety, arXiv 2512.10150.
    """

    needs_reference = True

    def __init__(self, source: Source = "replay", weight: float = 1.0, name: str | None = None) -> None:
        super().__init__(source, weight, name or f"{source}_kl_to_base")

    def token_losses(self, chunk: TokenChunk) -> Tensor:
        """Return (T,) losses in nats, >= 0."""

        base = log_softmax(chunk.reference_logits, dim=-1)
        return (base.exp() * (base - chunk.log_probs)).sum(-1)
