"""Cross-entropy: supervised fine-tuning."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import nll_loss

from grsap.objectives.base import Objective, TokenChunk
from grsap.records import Source


class CrossEntropy(Objective):
    """Negative log-likelihood of the reference answer, on the rows of one source.

    Two of them with the sources `task` and `replay`, both with weight 1, are supervised fine-tuning on the union of the
    rows, as in GR-SAP (arXiv 2603.10243).
    """

    def __init__(self, source: Source, weight: float = 1.0, name: str | None = None) -> None:
        super().__init__(source, weight, name or f"{source}_cross_entropy")

    def token_losses(self, chunk: TokenChunk) -> Tensor:
        """Return (T,) losses in nats."""
        return nll_loss(chunk.log_probs, chunk.targets, reduction="none")
