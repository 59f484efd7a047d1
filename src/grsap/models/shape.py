"""Models on the meta device, for counts and checks before weights are loaded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from grsap.errors import ModelError, arguments_of, first_line, is_out_of_memory
from grsap.models.lora import add_lora


def empty_base(config: Any, name: str = "the model", **options: Any) -> PreTrainedModel:
    """Return the model on the meta device: its parameters have shapes, but no values.

    Args:
        config: configuration of transformers; not modified.
        name: name of the model in error messages.
        options: arguments of transformers' `from_config`.

    Raises:
        ModelError: the config describes no causal language model that transformers can build.
    """
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(copy.deepcopy(config), **options)
    except Exception as error:  # with a wrong config, a model's code may raise anything
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the config.json of {name} describes no model that transformers can build: {first_line(error)}",
            "Give a causal language model with its own config.json",
        ) from error
    return model


def empty_model(config: Any, lora: LoraConfig | None, **options: Any) -> PreTrainedModel | PeftModel:
    """Return the model to train on the meta device.

    Args:
        config: configuration of the base, from `BaseModel.load_config`.
        lora: settings of the adapter; None for full fine-tuning, where all parameters are trainable.
        options: arguments of `empty_base`.

    Raises:
        ModelError: see `empty_base`.
        ConfigError: the adapter does not fit the base.
    """
    return with_trained_part(empty_base(config, **options), lora)


def with_trained_part(model: PreTrainedModel, lora: LoraConfig | None) -> PreTrainedModel | PeftModel:
    """Add the adapter's layers to an empty model, or make all of its parameters trainable.

    Raises:
        ConfigError: the adapter does not fit the base.
    """
    if lora is None:
        model.requires_grad_(True)
        return model
    changed = copy.deepcopy(lora)
    if changed.init_lora_weights:
        changed.init_lora_weights = True  # other initializations (PiSSA, ...) compute with the base's values
    with torch.device("meta"), arguments_of(lora):
        return add_lora(model, changed, seed=0)
