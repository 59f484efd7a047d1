"""Putting a LoRA adapter on a frozen base."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn
from transformers import PreTrainedModel

from grsap.embedded import resolve
from grsap.errors import ConfigError, ModelError
from grsap.files import hash_file
from grsap.models.evaluation_mode import evaluating


def add_lora(base: PreTrainedModel, config: LoraConfig, seed: int) -> PeftModel:
    """Wrap `base` with an adapter whose initial weights depend on `seed` alone.

    Raises:
        ConfigError: `target_modules` names no layer of this model, or another setting does not fit it.
    """
    config = copy.deepcopy(config)
    config.task_type = config.task_type or "CAUSAL_LM"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = get_peft_model(base, config)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"model.lora does not fit the base: {error}", "Change model.lora") from error
    if not isinstance(model, PeftModel):
        raise ConfigError(f"model.lora makes a {type(model).__name__}", "Give settings of a PEFT adapter")
    return model


HEAD_PROBE_LENGTH = 16
MAX_HEAD_DIFFERENCE = 0.05
"""Relative; bf16 rounding makes less than 0.01."""


def changes_base(config: object) -> bool:
    """Whether an adapter takes its own beginning out of the base's weights when it is put on.

    PiSSA (arXiv 2404.02948), OLoRA, CorDA and LoftQ do; taking them off does not bring the base back.
    """
    start = getattr(config, "init_lora_weights", True)
    return isinstance(start, str) and start.startswith(("pissa", "olora", "corda", "loftq"))


def adapter_folder(path: str) -> Path:
    """The folder of a PEFT adapter: a folder of the user's, or `embedded:NAME`.

    Raises:
        ModelError: no adapter is there.
    """
    folder = resolve(path)
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{path} is no PEFT adapter (no adapter_config.json)", "Give the folder that holds adapter_config.json"
        )
    return folder


def adapter_hash(folder: Path | None) -> str | None:
    """Hash of an adapter's weights; None without one."""
    return None if folder is None else hash_file(folder / "adapter_model.safetensors")


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on `base`, frozen.

    Raises:
        ModelError: it was made for a model of another shape.
    """
    try:
        model = PeftModel.from_pretrained(base, str(folder))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"the adapter {folder} does not fit the base: {str(error).splitlines()[0]}", "Give the base it was made on"
        ) from error
    return model


def without_adapter(model: nn.Module) -> PreTrainedModel:
    """The base again, as it was before an adapter was put on it, unless that one `changes_base`."""
    base = model.unload() if isinstance(model, PeftModel) else model
    if hasattr(base, "peft_config"):
        del base.peft_config  # else PEFT warns that the next adapter comes on top of this one
    return base  # type: ignore[return-value]


def adapter_off(model: PreTrainedModel | PeftModel) -> AbstractContextManager[None]:
    """Context in which the model is the base: the adapter is bypassed.

    Raises:
        ConfigError: the model has no adapter (full fine-tuning), so that the base is gone.
    """
    if isinstance(model, PeftModel):
        return model.disable_adapter()
    raise ConfigError("An objective needs the base model, which full fine-tuning overwrites", "Use model.lora")


class OutputHead:
    """From hidden states to logits, with the scaling and soft cap that some architectures put after it."""

    def __init__(self, model: PreTrainedModel) -> None:
        layer = model.get_output_embeddings()
        if layer is None:
            raise ConfigError(f"{type(model).__name__} has no output layer", "Use a causal language model")
        config = model.config.get_text_config()
        self.layer = layer
        # Cohere multiplies by logit_scale, Granite divides by logits_scaling, Gemma 2 caps.
        self.scale = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        self.cap = getattr(config, "final_logit_softcapping", None)

    def check(self, model: PreTrainedModel | PeftModel, dtype: torch.dtype, name: str) -> None:
        """See on a few tokens that hidden states and this layer make the logits that the model itself makes.

        Args:
            model: the one that the layer is of, with its adapter.
            dtype: number format of the matrix products.
            name: of the model, for the error.

        Raises:
            ModelError: they do not: the architecture does something between them that is not known here.
        """
        ids = torch.arange(HEAD_PROBE_LENGTH, device=self.layer.weight.device)[None] + 5
        with evaluating(model), compute_context(model, ids.device, dtype):
            hidden = backbone(model)(input_ids=ids, use_cache=False).last_hidden_state
            logits = inner_model(model)(input_ids=ids, use_cache=False).logits
        difference = (self(hidden).float() - logits.float()).norm() / logits.float().norm()
        if not float(difference) < MAX_HEAD_DIFFERENCE:
            raise ModelError(
                f"{name}: the model's own logits differ from its output layer's by {float(difference):.0%}",
                "This architecture is not known to grsap yet; use another model",
            )

    @property
    def is_trained(self) -> bool:
        """Whether its own weights need a gradient."""
        return any(parameter.requires_grad for parameter in self.layer.parameters())

    def __call__(self, hidden: Tensor) -> Tensor:
        """(..., H) hidden states -> (..., V) logits."""
        logits: Tensor = self.layer(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def inner_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model, adapter layers included."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return inner  # type: ignore[return-value]


def backbone(model: PreTrainedModel | PeftModel) -> nn.Module:
    """The part that makes hidden states."""
    inner = inner_model(model)
    part: nn.Module = getattr(inner, inner.base_model_prefix)
    return part


def casts_off(model: nn.Module, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Context without PEFT's casts of each input to the adapter's float32, which autocast would undo at once.

    It must hold in the backward pass too, where gradient checkpointing runs the layers again. It visits every module,
    which takes 10 ms at the size of Llama 3 8B: for a step, not for each micro-batch.
    """
    context: AbstractContextManager[None] = disable_input_dtype_casting(model, active=dtype != torch.float32)
    return context


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to `dtype`; nothing for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


@contextmanager
def compute_context(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """`autocast`, with `casts_off`; nothing for float32."""
    with autocast(device, dtype), casts_off(model, dtype):
        yield
