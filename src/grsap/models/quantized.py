"""Quantization by bitsandbytes: counts, checks, and 4-bit layers on a CPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.auto import AutoHfQuantizer

from grsap.errors import ConfigError

KINDS = ("nf4", "fp4", "int8")
"""Formats of bitsandbytes."""
FULL = "full fine-tuning (model.lora null)"
MIN_SHARE = 0.8
"""Quantized share of the parameters outside embeddings and output head, below which it saves little memory."""


@dataclass(frozen=True)
class QuantizedShare:
    """The quantized share of a model.

    Attributes:
        num_quantized: number of quantized parameters.
        num_body: number of parameters outside embeddings and output head, which are never quantized.
        num_parameters: number of all parameters.
        kind: `nf4`, `fp4` or `int8`.
    """

    num_quantized: int
    num_body: int
    num_parameters: int
    kind: str

    @property
    def of_body(self) -> float:
        """Return the share of the parameters outside embeddings and output head."""
        return self.num_quantized / max(1, self.num_body)

    @property
    def of_all(self) -> float:
        """Return the share of all parameters."""
        return self.num_quantized / max(1, self.num_parameters)

    @property
    def is_low(self) -> bool:
        """Return whether quantization saves little memory."""
        return self.of_body < MIN_SHARE

    def to_dict(self) -> dict[str, Any]:
        """Return counts and both shares, to 4 digits, for manifests."""
        return {**asdict(self), "of_all": round(self.of_all, 4), "of_body": round(self.of_body, 4)}

    def __str__(self) -> str:
        text = (
            f"{self.kind}: {self.of_all:.1%} of all parameters are quantized, {self.of_body:.1%} of those outside "
            "embeddings and output head"
        )
        if not self.is_low:
            return text
        return f"Warning: {text}. bitsandbytes quantizes plain linear layers only, not, for example, fused experts"


def quantized_share(empty: PreTrainedModel, settings: BitsAndBytesConfig, kind: str) -> QuantizedShare:
    """Count what bitsandbytes will quantize, by transformers' own replacement of layers.

    Args:
        empty: the model on the meta device; its layers are replaced.
        settings: settings of bitsandbytes.
        kind: `nf4`, `fp4` or `int8`.
    """
    edges = [empty.get_input_embeddings(), empty.get_output_embeddings()]
    num_edges = sum(
        p.numel() for p in {id(p): p for edge in edges if edge is not None for p in edge.parameters()}.values()
    )
    num_parameters = sum(parameter.numel() for parameter in empty.parameters())
    quantizer: Any = AutoHfQuantizer.from_config(settings, pre_quantized=False)
    quantizer.preprocess_model(model=empty, dtype=None, device_map=None)
    layers = [layer for layer in empty.modules() if isinstance(layer, (Linear4bit, Linear8bitLt))]
    num_quantized = sum(layer.in_features * layer.out_features for layer in layers)
    return QuantizedShare(num_quantized, num_parameters - num_edges, num_parameters, kind)


def stored_quantization(config: Any) -> str | None:
    """Return the quantization of a model's files: `nf4`, `fp4`, `int8`, or another method; None if unquantized."""
    found: Any = getattr(config, "quantization_config", None)
    found = found or getattr(config.get_text_config(), "quantization_config", None)
    if not found:
        return None
    settings: dict[str, Any] = found if isinstance(found, dict) else found.to_dict()
    if settings.get("load_in_8bit"):
        return "int8"
    if settings.get("load_in_4bit"):
        return str(settings.get("bnb_4bit_quant_type", "fp4"))
    return str(settings.get("quant_method", "unknown"))


def check_quantization(stored: str | None, wanted: str, path: str, full_weights_for: str | None = None) -> None:
    """Check that a model's files allow the configured quantization.

    Args:
        stored: quantization of the files, from `stored_quantization`.
        wanted: configured quantization.
        path: path of the model, for error messages.
        full_weights_for: setting that needs unquantized weights; None if there is none.

    Raises:
        ConfigError: they do not; the message begins with an argument of `BaseModel`.
    """
    if stored is None:
        return
    if full_weights_for is not None:
        raise ConfigError(
            f"path {path} has quantized weights ({stored}), but {full_weights_for} needs full weights",
            f"Give the unquantized model, or leave {full_weights_for} out",
        )
    fitting = stored if stored in KINDS else "none"
    if wanted != fitting:
        raise ConfigError(
            f"quantization is {wanted}, but path {path} has quantized weights ({stored})",
            f"Set quantization to {fitting}, or give the unquantized model",
        )


def is_quantizable(module: nn.Module) -> bool:
    """Return whether bitsandbytes quantizes this kind of layer: no subclasses of linear layers, no fused experts."""
    return type(module) is nn.Linear or isinstance(module, Conv1D)


def four_bit_layers(model: nn.Module) -> list[Linear4bit]:
    """Return the 4-bit layers of a model."""
    return [layer for layer in model.modules() if isinstance(layer, Linear4bit)]


def keep_quantized_weights(model: nn.Module) -> None:
    """Prevent bitsandbytes from repacking weights for its AVX512-BF16 kernel in the first forward pass in eval mode.

    The repacking rounds the 4-bit scales to bf16 in place, so that a check during training would change the base.
    """
    for layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = False


def dequantized(layer: Linear4bit) -> Tensor:
    """Return the weights of a 4-bit layer, (out, in), in its compute dtype."""
    weight: Any = layer.weight
    weights: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return weights.to(layer.compute_dtype or weights.dtype)
