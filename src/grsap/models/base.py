"""The base model: where it is, how it is quantized, and the template it talks in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from grsap.embedded import resolve
from grsap.errors import ConfigError, ModelError
from grsap.files import hash_file, hash_json
from grsap.models.compute import ComputeDtype, resolve_dtype
from grsap.models.embedded_model import embedded_folder, gguf_file, is_embedded, packaged_model
from grsap.models.merge import merged_folder
from grsap.models.quantized import keep_quantized_weights
from grsap.text.template import ChatTemplate

Quantization = Literal["nf4", "fp4", "int8", "none"]
TemplateValue = str | int | float | bool

_WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".gguf"})


@dataclass(frozen=True)
class BaseModel:
    """A causal language model to start from.

    Args:
        path: a Hub id, a folder, or `embedded:NAME` for a model that a package ships.
        revision: commit of a Hub id; required with `trust_remote_code`.
        merge_adapter: folder of a PEFT adapter to merge into the weights before they are quantized; the merged model is
            cached, and is then the model with the adapter off.
        quantization: format of the frozen weights; `none` for plain LoRA and full fine-tuning.
        double_quantization: quantize the 4-bit scales too; saves about 0.4 bit a weight.
        quant_storage: how bitsandbytes stores 4-bit weights.
        skip_modules: parts of the model, by name (`model.layers.0`), whose weights are not quantized. The output head
            never is.
        compute_dtype: number format of the matrix products; `auto` is bf16 where the hardware is good at it.
        attention: attention kernel; `auto` takes FlashAttention 2 where it is installed on CUDA, else PyTorch's own, by
            which packed rows attend row by row.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third more computing, and up
            to twice the time where the host that launches kernels is what is slow.
        chat_template: file with a Jinja chat template, for models that come without one.
        chat_template_kwargs: passed to the template wherever text is rendered, e.g. `enable_thinking: false`.
        trust_remote_code: run code that comes with the model. Needs `revision`.
    """

    path: str
    revision: str | None = None
    merge_adapter: str | None = None
    quantization: Quantization = "nf4"
    double_quantization: bool = True
    quant_storage: Literal["uint8", "bfloat16", "float16", "float32"] = "uint8"
    skip_modules: list[str] | None = None
    compute_dtype: ComputeDtype = "auto"
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    gradient_checkpointing: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, TemplateValue] | None = None
    trust_remote_code: bool = False

    def check(self) -> None:
        """Find what is wrong with the settings without loading anything.

        Raises:
            ConfigError: settings that contradict each other.
            ModelError: a folder that is not there.
            MissingPackageError: an embedded model whose package is not installed.
        """
        if self.trust_remote_code and not self.revision:
            raise ConfigError("model.base.trust_remote_code is on without a revision", "Pin model.base.revision")
        if is_embedded(self.path):
            gguf_file(packaged_model(self.path))
        elif self.looks_local and not (Path(self.path).expanduser() / "config.json").is_file():
            raise ModelError(
                f"model.base.path {self.path} is no model folder (no config.json)", "Give a Hub id or a model folder"
            )
        if self.merge_adapter and not (resolve(self.merge_adapter) / "adapter_config.json").is_file():
            raise ModelError(
                f"model.base.merge_adapter {self.merge_adapter} is no PEFT adapter (no adapter_config.json)",
                "Give the folder that holds adapter_config.json",
            )
        if self.chat_template and not resolve(self.chat_template).is_file():
            raise ModelError(
                f"model.base.chat_template {self.chat_template} is missing", "Give a file with a Jinja template"
            )

    @property
    def looks_local(self) -> bool:
        """Whether `path` is meant as a folder rather than a Hub id."""
        return (
            Path(self.path).expanduser().exists() or self.path.startswith((".", "/", "~")) or self.path.count("/") > 1
        )

    @property
    def supports_packing(self) -> bool:
        """Whether rows that lie in one sequence can be kept apart by their positions; loads no weights.

        Models that carry a state from token to token (Mamba, and mixtures of it with attention) cannot. What a class
        does not tell, `Forward.keeps_rows_apart` finds out before the first step.
        """
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(self.load_config()), None)
        return not getattr(model_class, "_is_stateful", False)

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template with its tokenizer; loaded once, without weights.

        Raises:
            ModelError: the tokenizer cannot be found.
            TemplateError: it has no chat template.
        """
        return ChatTemplate(self.tokenizer, dict(self.chat_template_kwargs or {}))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, with `chat_template` on it if that is set; loaded once.

        Raises:
            ModelError: it cannot be found.
        """
        self.check()
        tokenizer: PreTrainedTokenizerBase = self._from_pretrained(AutoTokenizer, self._source())
        if self.chat_template:
            tokenizer.chat_template = resolve(self.chat_template).read_text()
        return tokenizer

    def load_config(self) -> Any:
        """The model's configuration (shapes); loads no weights."""
        self.check()
        return self._from_pretrained(AutoConfig, self._source())

    def load(
        self, device: torch.device, *, full_precision: bool = False, reentrant_checkpointing: bool = True
    ) -> PreTrainedModel:
        """The frozen model on `device`, quantized as set.

        Args:
            device: where the weights go.
            full_precision: keep float32 weights, for full fine-tuning.
            reentrant_checkpointing: checkpoint gradients by nested backward passes, which take less of the host's time
                (decision 0013); DDP that looks for unused parameters needs the other way.
        """
        self.check()
        if full_precision and self.quantization != "none":
            raise ConfigError(
                f"model.lora is null with quantization {self.quantization}: quantized weights cannot be trained",
                "Set model.base.quantization to none, or give model.lora",
            )
        dtype = torch.float32 if full_precision else resolve_dtype(self.compute_dtype, device)
        model: PreTrainedModel = self._from_pretrained(
            AutoModelForCausalLM,
            self.weights_source(),
            dtype=dtype,
            attn_implementation=self._attention(device),
            quantization_config=self._quantization_config(dtype),
            device_map={"": device},
        )
        keep_quantized_weights(model)
        model.requires_grad_(full_precision)
        if self.gradient_checkpointing:
            # Keys and values that later layers take from earlier ones would lose their gradient (Gemma 3n and 4).
            shares = getattr(model.config.get_text_config(), "num_kv_shared_layers", 0)
            model.gradient_checkpointing_enable({"use_reentrant": reentrant_checkpointing and not shares})
            model.enable_input_require_grads()
        return model

    def weights_source(self) -> str:
        """Folder or Hub id of the weights before they are quantized; `merge_adapter` is merged in."""
        source = self._source()
        if self.merge_adapter:
            return str(
                merged_folder(
                    source,
                    self.revision,
                    resolve(self.merge_adapter),
                    lambda: self._from_pretrained(AutoModelForCausalLM, source, dtype=torch.float32),
                    lambda: self.tokenizer,
                )
            )
        return source

    def identity(self) -> dict[str, Any]:
        """What tells this base from another, for manifests."""
        adapter = resolve(self.merge_adapter) / "adapter_model.safetensors" if self.merge_adapter else None
        return {
            "path": self.path,
            "revision": self.revision,
            "merge_adapter": self.merge_adapter,
            "merge_adapter_hash": hash_file(adapter) if adapter and adapter.is_file() else None,
            "quantization": self.quantization,
            "double_quantization": self.double_quantization,
            "skip_modules": self.skip_modules,
            "compute_dtype": self.compute_dtype,
        }

    def content_identity(self) -> dict[str, Any]:
        """The same without the places of files, and with the name; `weights_revision` tells the weights."""
        placeless = {key: value for key, value in self.identity().items() if key not in ("path", "merge_adapter")}
        return {**placeless, "model": self.name}

    @property
    def name(self) -> str:
        """The Hub id, or the folder's name without its place."""
        return Path(self.path).name if self.looks_local and not is_embedded(self.path) else self.path

    def weights_revision(self) -> str:
        """Commit of a Hub id, as far as it can be told, or hash of the weight files; with what is done to them.

        Reads all weight files of a folder, which takes seconds for a large model.
        """
        folder = Path(self._source())
        if folder.is_dir():
            files = sorted(file for file in folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
            weights = hash_json({file.name: hash_file(file) for file in files})
        else:
            weights = str(getattr(self.load_config(), "_commit_hash", None) or self.revision or "")[:16]
        quantization = None if self.quantization == "none" else self.quantization
        return "+".join(part for part in (weights, self.identity()["merge_adapter_hash"], quantization) if part)

    def _source(self) -> str:
        """Folder or Hub id to hand to transformers."""
        if is_embedded(self.path):
            return str(embedded_folder(self.path))
        return str(Path(self.path).expanduser()) if self.looks_local else self.path

    def _from_pretrained(self, factory: Any, source: str, **kwargs: Any) -> Any:
        """transformers' `from_pretrained` with our errors."""
        revision = {} if Path(source).exists() else {"revision": self.revision}
        try:
            return factory.from_pretrained(source, trust_remote_code=self.trust_remote_code, **revision, **kwargs)
        except (OSError, ValueError) as error:  # a folder without a tokenizer is a ValueError
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"model.base.path {self.path} cannot be loaded: {reason}",
                "Check the id, your access to it (accept its licence on its page) and the network, or give a folder",
            ) from error

    def _attention(self, device: torch.device) -> str:
        """The attention implementation to ask transformers for."""
        if self.attention != "auto":
            return self.attention
        from transformers.utils.import_utils import is_flash_attn_2_available

        if (
            device.type != "cuda"
            or not is_flash_attn_2_available()
            or torch.cuda.get_device_capability(device) < (8, 0)
        ):
            return "sdpa"
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(self.load_config()), None)
        is_half = resolve_dtype(self.compute_dtype, device) != torch.float32
        return "flash_attention_2" if is_half and getattr(model_class, "_supports_flash_attn", False) else "sdpa"

    def _quantization_config(self, dtype: torch.dtype) -> BitsAndBytesConfig | None:
        """bitsandbytes' settings; the output head stays in full precision, as in QLoRA (Dettmers et al. 2023)."""
        if self.quantization == "none":
            return None
        skipped = ["lm_head", *(self.skip_modules or [])]
        if self.quantization == "int8":
            return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            llm_int8_skip_modules=skipped,
            bnb_4bit_quant_type=self.quantization,
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=getattr(torch, self.quant_storage),
        )
