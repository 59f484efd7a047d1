"""Checking the model of a planned run by its shapes, without weights."""

from __future__ import annotations

from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from grsap.models.base import BaseModel
from grsap.models.lora import OutputHead, backbone, inner_model
from grsap.models.merge import shared_weights
from grsap.models.quantized import FULL
from grsap.models.shape import with_trained_part


def planned_model(base: BaseModel, lora: LoraConfig | None) -> PreTrainedModel | PeftModel:
    """The model to train, on the meta device, with the adapter's layers.

    Args:
        base: of the run.
        lora: its adapter; None for full fine-tuning.

    Raises:
        UserError: base, config and adapter do not fit together, or the architecture is not supported.
    """
    model = with_trained_part(base.empty(), lora)
    backbone(model)
    OutputHead(inner_model(model))
    return model


def check_model(base: BaseModel, lora: LoraConfig | None) -> list[str]:
    """Check the model without loading weights; called before anything is written.

    Args:
        base: of the run.
        lora: its adapter; None for full fine-tuning.

    Returns:
        Notes for the user, such as how much of the model is quantized.

    Raises:
        UserError: see `planned_model`; or a file of the base is damaged, or does not belong to its config.
    """
    base.check_weights()
    if lora is None:
        base.check_quantization(FULL)
    model, notes = planned_model(base, lora), []
    if isinstance(model, PeftModel) and shared_weights(model):
        notes.append(
            "The adapter changes a layer that shares its weights (tied embeddings). PEFT's merging would change the "
            "others too; model.base.merge_adapter gives each its own"
        )
    share = base.quantized_share()
    return notes if share is None else [*notes, str(share)]
