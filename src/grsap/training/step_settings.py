"""Settings of an optimizer step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grsap.errors import ConfigError


@dataclass(frozen=True)
class StepSettings:
    """Settings of an optimizer step.

    Args:
        max_grad_norm: maximum norm of the gradient, which is scaled down to it; null for no limit.
        normalisation: `step` divides all objectives by the step's supervised tokens, so that weights of 1 are plain
            fine-tuning on the union of rows; `per_objective` divides each by its own tokens.
        chunk_size: supervised tokens whose logits are in memory at once; by default 1,024 on a GPU, and 256 on a CPU,
            where that takes less memory and no more time.
        compile: whether to `torch.compile` the decoder layers.
        use_liger_kernel: whether to use Liger's fused kernels for norms, rotary embeddings and gated layers, on a GPU.
    """

    max_grad_norm: float | None = 1.0
    normalisation: Literal["step", "per_objective"] = "step"
    chunk_size: int | None = None
    compile: bool = False
    use_liger_kernel: bool = False

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: chunk size or norm is out of range, or two options exclude each other.
        """
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"chunk_size is {self.chunk_size}", "Give supervised tokens, at least 1, or leave it out")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}", "Give more than 0, or null for no limit")
        if self.compile and self.use_liger_kernel:
            raise ConfigError(
                "compile and use_liger_kernel are both on, but Liger's kernels cannot be compiled again",
                "Leave one of them out",
            )
