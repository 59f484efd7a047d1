"""Models on the meta device, for counting and for checks before weights are loaded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from grsap.errors import ModelError, arguments_of, first_line, is_out_of_memory
from grsap.models.lora import add_lora


def empty_base(config: Any, name: str = "the model", **options: Any) -> PreTrainedModel:
    """The model on the meta device: parameters have shapes and no values.

    Args:
        config: as transformers reads it; it is not changed.
        name: of the model, for the error.
        options: of transformers' `from_config`.

    Raises:
        ModelError: the config describes no causal language model that transformers can build.
    """
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(copy.deepcopy(config), **options)
    except Exception as error:  # a wrong config raises anything anywhere in a model's code
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the config.json of {name} describes no model that transformers can build: {first_line(error)}",
            "Give a causal language model, with the config.json that belongs to it",
        ) from error
    return model


def empty_model(config: Any, lora: LoraConfig | None, **options: Any) -> PreTrainedModel | PeftModel:
    """The model that would be trained, on the meta device.

    Args:
        config: the base's, as `BaseModel.load_config` gives it.
        lora: the adapter; None for full fine-tuning, where all parameters are trainable.
        options: of `empty_base`.

    Raises:
        ModelError: see `empty_base`.
        ConfigError: the adapter does not fit the base.
    """
    return with_trained_part(empty_base(config, **options), lora)


def with_trained_part(model: PreTrainedModel, lora: LoraConfig | None) -> PreTrainedModel | PeftModel:
    """An empty model with an adapter's layers, or with all of its parameters trainable.

    Raises:
        ConfigError: the adapter does not fit the base.
    """
    if lora is None:
        model.requires_grad_(True)
        return model
    changed = copy.deepcopy(lora)
    if changed.init_lora_weights:
        changed.init_lora_weights = True  # the other initializations compute with the base's values
    with torch.device("meta"), arguments_of(lora):
        return add_lora(model, changed, seed=0)
