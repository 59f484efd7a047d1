"""LoRA adapters on a frozen base, and the parts of a model that the loss needs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.helpers import disable_input_dtype_casting
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from grsap.errors import ConfigError, ModelError, is_out_of_memory
from grsap.models.evaluation_mode import evaluating


def add_lora(base: PreTrainedModel, config: LoraConfig, seed: int) -> PeftModel:
    """Wrap `base` with an adapter whose initial weights depend only on `seed`.

    Raises:
        ConfigError: `target_modules` names no layer of this model, or another setting does not fit it.
    """
    given, config = config, copy.deepcopy(config)  # PEFT modifies it
    config.task_type = config.task_type or "CAUSAL_LM"
    if config.target_modules == "all-linear" and not isinstance(config.exclude_modules, str):
        config.exclude_modules = [*(config.exclude_modules or []), *_unadaptable(base)] or None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = get_peft_model(base, config)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"lora does not fit the base: {error}", "Change its settings") from error
    if not isinstance(model, PeftModel):
        raise ConfigError(f"lora creates a {type(model).__name__}", "Give settings of a PEFT adapter")
    _check_targets(model, given)
    return model


def _check_targets(model: PeftModel, config: LoraConfig) -> None:
    """Check that each name in the settings matches a layer that can be adapted.

    PEFT accepts names without a match if another one matches.
    """
    reached = [*model.targeted_module_names, *model.targeted_parameter_names]
    wanted = {
        "target_modules": (_names(config.target_modules), reached),
        "target_parameters": (_names(config.target_parameters), reached),
        "modules_to_save": (
            _names(config.modules_to_save),
            [name for name, _ in model.get_base_model().named_modules()],
        ),
    }
    for key, (names, there) in wanted.items():
        for name in names:
            if not any(each == name or each.endswith(f".{name}") for each in there):
                raise ConfigError(
                    f"{key} names {name}, and the base has no such layer", f"Remove it from {key}", part=config
                )
    layers = {id(layer.get_base_layer()) for layer in model.modules() if isinstance(layer, LoraLayer)}
    for name, module in model.named_modules():
        if id(module) in layers and not _is_adaptable(module):
            own = name.removesuffix(".base_layer")
            raise ConfigError(
                f"target_modules reaches {own}, a {type(module).__name__}, which LoRA cannot adapt",
                f"Set exclude_modules to [{own.rpartition('.')[2]}]",
                part=config,
            )


def _names(setting: Any) -> list[str]:
    """Return the names of a list setting; none for null or a pattern, which PEFT checks itself."""
    return [] if setting is None or isinstance(setting, str) else sorted(setting)


def _unadaptable(base: nn.Module) -> list[str]:
    """Return the names of linear layers that LoRA cannot adapt, such as a router whose output is a tuple."""
    return [name for name, layer in base.named_modules() if not _is_adaptable(layer)]


def _is_adaptable(layer: nn.Module) -> bool:
    """Return whether a linear layer maps (N, in) to (N, out); some subclasses (routers, grouped layers) do not."""
    if not isinstance(layer, nn.Linear) or type(layer).forward is nn.Linear.forward:
        return True
    if type(layer).__module__.startswith("bitsandbytes"):
        return True
    try:
        with torch.no_grad():
            given = layer(layer.weight.new_zeros(2, layer.in_features))
    except NotImplementedError:
        return True  # not on the meta device
    except (RuntimeError, TypeError):
        return False
    return isinstance(given, Tensor) and given.shape == (2, layer.out_features)


HEAD_PROBE_LENGTH = 16
MAX_HEAD_DIFFERENCE = 0.05
"""Relative; bf16 rounding causes less than 0.01."""


def adapter_off(model: PreTrainedModel | PeftModel) -> AbstractContextManager[None]:
    """Return a context in which the adapter is disabled, so that the model is the base.

    Raises:
        ConfigError: the model has no adapter: full fine-tuning overwrites the base.
    """
    if isinstance(model, PeftModel):
        return model.disable_adapter()
    raise ConfigError("An objective needs the base model, which full fine-tuning overwrites", "Use model.lora")


class OutputHead:
    """Output layer from hidden states to logits, with the scaling and soft cap of some architectures."""

    def __init__(self, model: PreTrainedModel) -> None:
        layer = model.get_output_embeddings()
        if layer is None:
            raise ConfigError(f"{type(model).__name__} has no output layer", "Use a causal language model")
        config = model.config.get_text_config()
        self.layer = layer
        # Cohere multiplies by logit_scale, Granite divides by logits_scaling, Gemma 2 caps.
        self.scale = _number(config, "logit_scale") / _number(config, "logits_scaling")
        self.cap = getattr(config, "final_logit_softcapping", None)

    def check(self, model: PreTrainedModel | PeftModel, dtype: torch.dtype, name: str) -> None:
        """Check on a few tokens that lm_head(hidden) equals the model's logits.

        Args:
            model: model of the layer, with its adapter.
            dtype: autocast dtype.
            name: name of the model in error messages.

        Raises:
            ModelError: they differ: the architecture applies an unsupported operation between them.
        """
        ids = torch.arange(HEAD_PROBE_LENGTH, device=self.layer.weight.device)[None] + 5
        with evaluating(model), compute_context(model, ids.device, dtype):
            hidden = backbone(model)(input_ids=ids, use_cache=False).last_hidden_state
            logits = inner_model(model)(input_ids=ids, use_cache=False).logits
            try:
                difference = float((self(hidden).float() - logits.float()).norm() / logits.float().norm())
            except RuntimeError as error:  # incompatible shapes
                if is_out_of_memory(error):
                    raise
                difference = float("inf")
        if not difference < MAX_HEAD_DIFFERENCE:
            raise ModelError(
                f"{name}: the model's logits differ from those of its output layer by {difference:.0%}",
                "grsap does not support this architecture yet; use another model",
            )

    @property
    def is_trained(self) -> bool:
        """Return whether the layer's weights are trained."""
        return any(parameter.requires_grad for parameter in self.layer.parameters())

    def __call__(self, hidden: Tensor) -> Tensor:
        """Map hidden states, (..., H), to logits, (..., V)."""
        logits: Tensor = self.layer(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def _number(config: Any, name: str) -> float:
    """Return a factor in a config; 1 if it is missing or no number (then `OutputHead.check` fails)."""
    value = getattr(config, name, None)
    return float(value) if isinstance(value, (int, float)) and value else 1.0


def inner_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the transformers model, adapter layers included."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return inner  # type: ignore[return-value]


def backbone(model: PreTrainedModel | PeftModel) -> nn.Module:
    """Return the submodule that computes hidden states.

    Raises:
        ModelError: the architecture has none that can be identified.
    """
    inner: Any = inner_model(model)
    part = getattr(inner, inner.base_model_prefix, None)
    if part is None:  # Llama 4's prefix names a part of its multimodal sibling
        parts = [child for child in inner.children() if isinstance(child, PreTrainedModel)]
        part = parts[0] if len(parts) == 1 else None
    if not isinstance(part, nn.Module) or part is inner:
        raise ModelError(
            f"{type(inner).__name__}: grsap does not support this architecture (no submodule for hidden states)",
            "Use another model",
        )
    return part


def without_input_casts(model: nn.Module, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Disable PEFT's casts of each input to the adapter's float32, which autocast would undo.

    Must include the backward pass, where gradient checkpointing runs the layers again. Visits every module, which
    takes 10 ms for Llama 3 8B: enter it per step, not per micro-batch.
    """
    context: AbstractContextManager[None] = disable_input_dtype_casting(model, active=dtype != torch.float32)
    return context


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to `dtype`; nothing for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


@contextmanager
def compute_context(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """`autocast`, with `without_input_casts`; nothing for float32."""
    with autocast(device, dtype), without_input_casts(model, dtype):
        yield
