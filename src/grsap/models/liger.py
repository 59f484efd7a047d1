"""Liger's fused GPU kernels for rotary embeddings, norms and gated layers (arXiv 2410.10989)."""

from __future__ import annotations

import importlib.util

import torch
from transformers import PreTrainedModel

from grsap.errors import ConfigError, MissingPackageError, ModelError

OWN_LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""Disables Liger's losses: grsap's loss is already fused with the output layer, for all objectives at once."""
KEY = "model.step.use_liger_kernel"


def check_liger(device: torch.device, model_type: str) -> None:
    """Check that the Liger kernels are available, before weights are loaded.

    Args:
        device: device of the model.
        model_type: `model_type` of its config.

    Raises:
        ConfigError: the device is no GPU.
        MissingPackageError: liger-kernel is not installed.
        ModelError: liger-kernel does not support this architecture.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"{KEY} needs a GPU, and the model is on {device.type}", "Leave it out, or set trainer.accelerator to gpu"
        )
    if importlib.util.find_spec("liger_kernel") is None:
        raise MissingPackageError(
            f"{KEY} needs the package liger-kernel, which is not installed", "Run: pip install 'grsap[gpu]'"
        )
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    if model_type not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise ModelError(f"liger-kernel has no kernels for models of type {model_type}", f"Leave {KEY} out")


def use_liger(model: PreTrainedModel) -> None:
    """Patch the kernels into a model, and into models of its architecture that this process loads later."""
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, OWN_LOSSES)
