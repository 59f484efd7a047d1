"""How one optimizer step is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grsap.errors import ConfigError


@dataclass(frozen=True)
class StepSettings:
    """How one optimizer step is made.

    Args:
        max_grad_norm: the gradient is scaled down to this norm; null for no limit.
        normalisation: `step` divides all objectives by the step's supervised tokens, so that weights of 1 are plain
            fine-tuning on the union of rows; `per_objective` divides each by its own tokens.
        chunk_size: supervised tokens whose logits are held at once; by default 1,024, and 256 on a processor, where
            that takes less memory and no more time.
        compile: `torch.compile` the decoder layers.
        use_liger_kernel: take Liger's fused kernels for norms, rotary embeddings and gated layers, on a GPU.
    """

    max_grad_norm: float | None = 1.0
    normalisation: Literal["step", "per_objective"] = "step"
    chunk_size: int | None = None
    compile: bool = False
    use_liger_kernel: bool = False

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: a chunk without tokens, a norm that would stop all learning, or ways that exclude each other.
        """
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"chunk_size is {self.chunk_size}", "Give supervised tokens, at least 1, or leave it out")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}", "Give more than 0, or null for no limit")
        if self.compile and self.use_liger_kernel:
            raise ConfigError(
                "compile and use_liger_kernel are both on, and Liger's kernels cannot be compiled again",
                "Leave one of them out",
            )
