"""Saved adapters: reading, checks against a base, and loading."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import PreTrainedModel

from grsap.embedded import resolve
from grsap.errors import ModelError, first_line, is_out_of_memory
from grsap.models.loading import raise_first
from grsap.models.shape import empty_base
from grsap.models.weight_files import ADAPTER_CONFIG, WeightFiles, read_json_object

ADAPTER_NAME = "default"
_FIT = "Give the base that the adapter was trained on, or an adapter for this base"


def adapter_folder(path: str, key: str = "adapter") -> Path:
    """Return the folder of a PEFT adapter.

    Args:
        path: a folder, or `embedded:NAME`.
        key: name of the setting in error messages.

    Raises:
        ModelError: the folder contains no adapter.
    """
    folder = resolve(path)
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{key} {path} is no PEFT adapter (no {ADAPTER_CONFIG})", f"Give the folder that contains {ADAPTER_CONFIG}"
        )
    return folder


def adapter_hash(folder: Path | None) -> str | None:
    """Return a hash of an adapter's config and weights; None for no adapter."""
    return None if folder is None else WeightFiles.of_adapter(folder).hash


def load_adapter(base: PreTrainedModel, folder: Path) -> tuple[PeftModel, bool]:
    """Put a saved adapter on `base`, frozen.

    Returns:
        The model, and whether the base's weights were changed, so that removing the adapter does not restore them.

    Raises:
        ModelError: a tensor is missing, unexpected, of another shape or not finite, or a file cannot be read.
    """
    replaces_base = check_adapter(base.config, folder, trust_remote_code=True)  # the base's code has already run
    WeightFiles.of_adapter(folder).check_finite()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            model = PeftModel.from_pretrained(base, str(folder))
        except (RuntimeError, ValueError, KeyError, UserWarning) as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"the adapter {folder} does not fit the base: {first_line(error)}", _FIT) from error
    return model, replaces_base or any(map(changes_base, model.peft_config.values()))


def check_adapter(config: Any, folder: Path, **options: Any) -> bool:
    """Check that an adapter fits a base, by its config and the shapes of its tensors.

    Args:
        config: transformers configuration of the base.
        folder: folder of the adapter.
        options: arguments of `empty_base`.

    Returns:
        Whether its file contains weights that replace those of the base, such as embeddings.

    Raises:
        ModelError: a tensor is missing, unexpected or of another shape, or grsap cannot use this kind of adapter.
    """
    files = WeightFiles.of_adapter(folder)
    settings: Any = read_adapter_config(folder)
    empty = empty_base(config, "the base", **options)
    settings.inference_mode = True
    if getattr(settings, "init_lora_weights", True):
        settings.init_lora_weights = True  # other initializations (PiSSA, ...) compute with the base's values
    try:
        with torch.device("meta"):
            model = PeftModelForCausalLM(empty, settings, low_cpu_mem_usage=True)
            result: Any = set_peft_model_state_dict(model, files.shapes(), ADAPTER_NAME)
    except KeyError as error:  # a tensor of a layer that is saved as a whole
        raise ModelError(f"the adapter {folder} lacks the tensor {error.args[0]}", _FIT) from error
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if "size mismatch" in line), first_line(error))
        raise ModelError(f"the adapter {folder} does not fit the base: {reason}", _FIT) from error
    _raise_first(folder, result.unexpected_keys, " has no place in the base")
    names_of: dict[int, list[str]] = {}  # by parameter: tied parameters have several names
    for name, tensor in model.state_dict(keep_vars=True).items():
        names_of.setdefault(id(tensor), []).append(name)
    owned = _owned(model)
    missing = {name for names in names_of.values() if set(names) <= set(result.missing_keys) for name in names}
    _raise_first(folder, [name for name in missing if name in owned], " is missing")
    loaded = {name for names in names_of.values() for name in names} - set(result.missing_keys)
    return not loaded <= owned


def read_adapter_config(folder: Path) -> PeftConfig:
    """Read the settings of a saved adapter.

    Raises:
        ModelError: they cannot be read, or grsap or the installed PEFT does not support them.
    """
    path = folder / ADAPTER_CONFIG
    raw = read_json_object(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Unexpected keyword arguments")  # reported below
            config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is no config of an adapter: {first_line(error)}", "Restore the file") from error
    unknown = sorted(key for key, value in raw.items() if value and not hasattr(config, key))
    if unknown:
        raise ModelError(f"{path} has a setting that the installed PEFT does not know: {unknown[0]}", "Update peft")
    if config.task_type not in (None, "CAUSAL_LM"):
        raise ModelError(
            f"the adapter {folder} is for {config.task_type}", "Give an adapter of a causal language model"
        )
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    for is_unusable, what in (
        (config.is_prompt_learning or config.is_adaption_prompt, f"{kind} (learned prompts)"),
        (bool(getattr(config, "alora_invocation_tokens", None)), "an activated LoRA, which depends on the prompt"),
        (kind == "XLORA", "a mixture of adapters"),
    ):
        if is_unusable:
            raise ModelError(f"the adapter {folder} is {what}, which grsap cannot apply", "Give a LoRA adapter")
    return config


def starts_from_base(config: object) -> bool:
    """Return whether the initialization modifies base weights, so that removing the adapter does not restore them.

    PiSSA (arXiv 2404.02948), OLoRA, CorDA and LoftQ do.
    """
    start = getattr(config, "init_lora_weights", True)
    return isinstance(start, str) and start.startswith(("pissa", "olora", "corda", "loftq"))


def changes_base(config: object) -> bool:
    """Return whether an adapter modifies base weights, by its initialization or by trained biases."""
    return starts_from_base(config) or getattr(config, "bias", "none") != "none"


def without_adapter(model: nn.Module) -> PreTrainedModel:
    """Remove an adapter and return the base, which is unchanged unless the adapter `changes_base`."""
    base = model.unload() if isinstance(model, PeftModel) else model
    if hasattr(base, "peft_config"):
        del base.peft_config  # otherwise PEFT warns that the next adapter is stacked on this one
    return base  # type: ignore[return-value]


def _owned(model: PeftModel) -> set[str]:
    """Return the names of the tensors that PEFT saves: of the adapter, of layers trained as a whole, and biases."""
    tensors: dict[str, Any] = dict(model.state_dict(keep_vars=True))
    saved = get_peft_model_state_dict(model, tensors, ADAPTER_NAME, save_embedding_layers=False)
    ids = {id(tensor) for tensor in saved.values()}
    return {name for name, tensor in tensors.items() if id(tensor) in ids}


def _raise_first(folder: Path, names: list[str], fault: str) -> None:
    raise_first(f"the adapter {folder}", [name.replace(f".{ADAPTER_NAME}", "") for name in names], fault, _FIT)
