"""Checks of a planned run's model by its shapes, without weights."""

from __future__ import annotations

from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from grsap.models.base import BaseModel
from grsap.models.lora import OutputHead, backbone, inner_model
from grsap.models.merge import shared_weights
from grsap.models.quantized import FULL
from grsap.models.shape import with_trained_part


def planned_model(base: BaseModel, lora: LoraConfig | None) -> PreTrainedModel | PeftModel:
    """Return the model to train, with the adapter's layers, on the meta device.

    Args:
        base: base model of the run.
        lora: settings of the adapter; None for full fine-tuning.

    Raises:
        UserError: base, config and adapter do not fit together, or the architecture is not supported.
    """
    model = with_trained_part(base.empty(), lora)
    backbone(model)
    OutputHead(inner_model(model))
    return model


def check_model(base: BaseModel, lora: LoraConfig | None) -> list[str]:
    """Check the model without loading weights, before anything is written.

    Args:
        base: base model of the run.
        lora: settings of the adapter; None for full fine-tuning.

    Returns:
        Notes for the user, such as the quantized share of the model.

    Raises:
        UserError: see `planned_model`; or a file of the base is damaged or does not match its config.
    """
    base.check_weights()
    if lora is None:
        base.check_quantization(FULL)
    model, notes = planned_model(base, lora), []
    if isinstance(model, PeftModel) and shared_weights(model):
        notes.append(
            "The adapter changes a layer that shares its weights (tied embeddings). PEFT's merging would change the "
            "other layers too; model.base.merge_adapter unties the weights first"
        )
    share = base.quantized_share()
    return notes if share is None else [*notes, str(share)]
