"""Liger's fused kernels for rotary embeddings, norms and gated layers (arXiv 2410.10989), on a GPU."""

from __future__ import annotations

import importlib.util

import torch
from transformers import PreTrainedModel

from grsap.errors import ConfigError, MissingPackageError, ModelError

OWN_LOSSES = {"cross_entropy": False, "fused_linear_cross_entropy": False}
"""Our loss is fused with the output layer for all objectives at once; Liger's would be in its way."""


def check_liger() -> None:
    """See that the package is there.

    Raises:
        MissingPackageError: it is not.
    """
    if importlib.util.find_spec("liger_kernel") is None:
        raise MissingPackageError(
            "model.base.use_liger_kernel needs the package liger-kernel, which is not installed",
            "Run: pip install 'grsap[gpu]', or leave use_liger_kernel out",
        )


def use_liger(model: PreTrainedModel, device: torch.device) -> None:
    """Put the kernels into a model; models of the same architecture that this process loads later have them too.

    Raises:
        ConfigError: not on a GPU.
        MissingPackageError: the package is not installed.
        ModelError: it has none for this architecture.
    """
    check_liger()
    if device.type != "cuda":
        raise ConfigError(
            f"model.base.use_liger_kernel needs a GPU, and the model is on {device.type}",
            "Leave use_liger_kernel out, or set trainer.accelerator to gpu",
        )
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN
    from transformers.integrations.liger import apply_liger_kernel

    kind = model.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise ModelError(
            f"liger-kernel has no kernels for models of type {kind}", "Leave model.base.use_liger_kernel out"
        )
    apply_liger_kernel(model, OWN_LOSSES)
