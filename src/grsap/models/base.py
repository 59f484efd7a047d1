"""The base model: source, quantization and chat template."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.quantizers.quantizers_utils import should_convert_module

from grsap.compat import carries_state, supported_attention
from grsap.embedded import resolve
from grsap.errors import ConfigError, ModelError, arguments_of
from grsap.files import user_path
from grsap.models.adapters import adapter_folder, adapter_hash, check_adapter, read_adapter_config
from grsap.models.compute import ComputeDtype, resolve_dtype
from grsap.models.embedded_model import converted_folder, embedded_folder, gguf_file, is_embedded, packaged_model
from grsap.models.limits import Limits, model_limits
from grsap.models.merge import merged_folder
from grsap.models.pretrained import Pretrained
from grsap.models.quantized import (
    FULL,
    QuantizedShare,
    check_quantization,
    keep_quantized_weights,
    quantized_share,
    stored_quantization,
)
from grsap.models.weight_files import WeightFiles, check_model_folder
from grsap.text.template import ChatTemplate

Quantization = Literal["nf4", "fp4", "int8", "none"]
TemplateValue = str | int | float | bool

MERGE_KEY = "merge_adapter"


@dataclass(frozen=True)
class BaseModel:
    """A causal language model to start from.

    Args:
        path: a Hub id, a folder, or `embedded:NAME` for a model that a package ships.
        revision: commit of a Hub id; required with `trust_remote_code`.
        merge_adapter: folder of a PEFT adapter to merge into the weights before quantization; the merged model is
            cached, and counts as the base.
        quantization: format of the frozen weights; `none` for plain LoRA and full fine-tuning.
        double_quantization: quantize the 4-bit scales too; saves about 0.4 bits per weight.
        quant_storage: dtype in which bitsandbytes stores 4-bit weights.
        skip_modules: names of modules (`model.layers.0`) whose weights are not quantized. The output head never is.
        compute_dtype: dtype of matrix products; `auto` is bf16 if the hardware supports it, else float32.
        attention: attention kernel; `auto` uses FlashAttention 2 if installed on CUDA, else PyTorch's SDPA (varlen for
            packed rows), and `eager` for architectures that support neither.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third more computation, and
            up to twice the time if kernel launches are the bottleneck.
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
        """Check the settings without loading anything.

        Raises:
            ConfigError: settings contradict each other.
            ModelError: a folder or file is missing.
            MissingPackageError: the package of an embedded model is not installed.
        """
        with arguments_of(self):
            if self.trust_remote_code and not self.revision:
                raise ConfigError("trust_remote_code is on without a revision", "Set revision to a commit")
            if is_embedded(self.path):
                gguf_file(packaged_model(self.path))
            elif self.looks_local:
                check_model_folder(self.path)
            if self.chat_template and not resolve(self.chat_template).is_file():
                raise ModelError(f"chat_template {self.chat_template} is missing", "Give a file with a Jinja template")
        self._merge_folder()

    def check_weights(self) -> None:
        """Check by file headers that weights, config and `merge_adapter` match; loads no weights.

        A model that is not on this machine yet, or not yet converted, is checked when it is loaded.

        Raises:
            ModelError: a file is damaged or missing, or a tensor is missing, unexpected or of another shape.
            ConfigError: the model does not support the configured attention.
        """
        self.check()
        if self._is_converted and self._stored().folder is not None:
            self.check_quantization()
            self.empty()
            self._stored().check()
        if (adapter := self._merge_folder()) is not None:
            self.check_adapter(adapter)

    def check_adapter(self, folder: Path) -> None:
        """Check by its config and headers that a saved adapter fits this model; loads no weights.

        Raises:
            ModelError: it does not.
        """
        read_adapter_config(folder)
        WeightFiles.of_adapter(folder).check_finite()
        if self._is_converted and self._stored().folder is not None:
            check_adapter(self.load_config(), folder, trust_remote_code=self.trust_remote_code)

    def empty(self) -> PreTrainedModel:
        """Return the model on the meta device, without weights.

        Raises:
            ModelError: config.json describes no model.
            ConfigError: the model does not support the configured attention.
        """
        model = self._stored().empty()
        self._check_attention(type(model))
        return model

    @cached_property
    def limits(self) -> Limits:
        """Token ids and positions of the model; loads no weights."""
        return model_limits(self.empty())

    def quantized_share(self) -> QuantizedShare | None:
        """Return how much of the model will be quantized; None without quantization. Loads no weights."""
        empty = self.empty()
        settings = self._quantization_config(torch.float32, empty)
        return None if settings is None else quantized_share(empty, settings, self.quantization)

    @property
    def looks_local(self) -> bool:
        """Return whether `path` looks like a folder rather than a Hub id."""
        return user_path(self.path).exists() or self.path.startswith((".", "/", "~")) or self.path.count("/") > 1

    @property
    def supports_packing(self) -> bool:
        """Return whether the model can separate packed rows by their positions; loads no weights.

        Models that carry a state from token to token (Mamba and its hybrids) cannot. If the class does not declare it,
        `Forward.keeps_rows_apart` tests it before the first step.
        """
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(self.load_config()), None)
        return not carries_state(model_class)

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template with its tokenizer; loaded once, without weights.

        Raises:
            ModelError: the tokenizer cannot be found.
            TemplateError: the tokenizer has no chat template.
        """
        return ChatTemplate(self.tokenizer, dict(self.chat_template_kwargs or {}))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, with `chat_template` if configured; loaded once.

        Raises:
            ModelError: the tokenizer cannot be found.
        """
        self.check()
        tokenizer: PreTrainedTokenizerBase = self._stored().tokenizer()
        if self.chat_template:
            try:
                tokenizer.chat_template = resolve(self.chat_template).read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise ModelError(
                    f"chat_template {self.chat_template} is not UTF-8", "Save it as UTF-8", part=self
                ) from error
        return tokenizer

    def load_config(self) -> Any:
        """Load the model's configuration (shapes), without weights."""
        self.check()
        return self._stored().config()

    def load(
        self, device: torch.device, *, full_precision: bool = False, reentrant_checkpointing: bool = True
    ) -> PreTrainedModel:
        """Load the frozen model onto `device`, with the configured quantization.

        Args:
            device: device of the weights.
            full_precision: load float32 weights with gradients, for full fine-tuning.
            reentrant_checkpointing: use reentrant gradient checkpointing, which costs less host time (decision 0013).
                DDP with `find_unused_parameters` needs False.
        """
        self.check()
        if full_precision:
            self.check_unquantized()
        self.check_quantization(FULL if full_precision else None)
        dtype = torch.float32 if full_precision else self.dtype_on(device)
        quantization = self._quantization_config(dtype, self.empty())
        model = replace(self._stored(), source=self.weights_source()).load(
            dtype=dtype,
            attn_implementation=self._attention(device),
            device_map={"": device},
            # None would override the setting in the files
            **({} if quantization is None else {"quantization_config": quantization}),
        )
        keep_quantized_weights(model)
        model.requires_grad_(full_precision)
        if self.gradient_checkpointing:
            # With reentrant checkpointing, keys and values that layers share (Gemma 3n and 4) would have no gradient.
            shares = getattr(model.config.get_text_config(), "num_kv_shared_layers", 0)
            model.gradient_checkpointing_enable({"use_reentrant": reentrant_checkpointing and not shares})
            model.enable_input_require_grads()
        return model

    def weights_source(self) -> str:
        """Return the folder or Hub id of the unquantized weights, with `merge_adapter` merged in."""
        stored, adapter = self._stored(), self._merge_folder()
        if adapter is None:
            return stored.source
        return str(
            merged_folder(
                stored,
                adapter,
                self.tokenizer,
                # The base's own dtype: storing a float32 base in bf16 would round it.
                getattr(self.load_config(), "dtype", None) or torch.bfloat16,
            )
        )

    def content(self) -> dict[str, str | None]:
        """Return hashes of the files of the base and of `merge_adapter`."""
        return {"content_hash": self.content_hash, "merge_adapter_content_hash": self._merge_hash()}

    def identity(self) -> dict[str, Any]:
        """Identify the base in manifests."""
        return {
            "path": self.path,
            "revision": self.revision,
            "merge_adapter": self.merge_adapter,
            **self.content(),
            "quantization": self.quantization,
            "double_quantization": self.double_quantization,
            "skip_modules": self.skip_modules,
            "compute_dtype": self.compute_dtype,
        }

    @cached_property
    def content_hash(self) -> str:
        """Hash of all files of the folder that are loaded, or commit of a Hub id; before merge and quantization.

        Reads the weights of a folder, which takes seconds for a large model at first.
        """
        return self._stored().content_hash()

    def settings_hash(self) -> str:
        """Return a hash of all files of the folder except weights, or the commit of a Hub id."""
        return self._stored().settings_hash()

    def content_identity(self) -> dict[str, Any]:
        """Return `identity` without file paths, and with the model's name."""
        placeless = {key: value for key, value in self.identity().items() if key not in ("path", "merge_adapter")}
        return {**placeless, "model": self.name}

    @property
    def name(self) -> str:
        """Return the Hub id, or the name of the folder without its path."""
        return Path(self.path).name if self.looks_local and not is_embedded(self.path) else self.path

    def weights_revision(self) -> str:
        """Identify the weights: `content_hash`, hash of the merged adapter, quantization and compute dtype."""
        parts = [self.content_hash, self._merge_hash()]
        if self.quantization != "none":
            parts.append(self.quantization)
            if not self.double_quantization and self.quantization != "int8":
                parts.append("single")
            parts += sorted(self.skip_modules or [])
        if self.compute_dtype != "auto":
            parts.append(self.compute_dtype)
        return "+".join(part for part in parts if part)

    def _merge_hash(self) -> str | None:
        return adapter_hash(self._merge_folder())

    def _merge_folder(self) -> Path | None:
        """Return the folder of `merge_adapter`; None if it is not set."""
        with arguments_of(self):
            return adapter_folder(self.merge_adapter, MERGE_KEY) if self.merge_adapter else None

    @property
    def _is_converted(self) -> bool:
        """Return whether transformers can read the files; False for a packaged model before its conversion."""
        return not is_embedded(self.path) or converted_folder(self.path).is_dir()

    def _stored(self) -> Pretrained:
        """Return the stored model; a packaged model is converted first."""
        if is_embedded(self.path):
            return Pretrained(str(embedded_folder(self.path)), part=self)
        source = str(user_path(self.path)) if self.looks_local else self.path
        return Pretrained(source, self.revision, self.trust_remote_code, part=self)

    def _attention(self, device: torch.device) -> str | None:
        """Return transformers' attention implementation; None for its default: SDPA, or eager without SDPA support."""
        if self.attention != "auto":
            return self.attention
        from transformers.utils.import_utils import is_flash_attn_2_available

        if (
            device.type != "cuda"
            or not is_flash_attn_2_available()
            or torch.cuda.get_device_capability(device) < (8, 0)
        ):
            return None
        is_half = self.dtype_on(device) != torch.float32
        return "flash_attention_2" if is_half and supported_attention(type(self.empty()))["flash_attention_2"] else None

    def _check_attention(self, model_class: type[PreTrainedModel]) -> None:
        """Raise ConfigError if the architecture does not support the configured attention."""
        has = supported_attention(model_class)
        if not has.get(self.attention, True):
            others = ["auto", *(name for name, is_there in has.items() if is_there), "eager"]
            raise ConfigError(
                f"attention is {self.attention}, which {model_class.__name__} does not support",
                f"Set attention to {' or '.join(others)}",
                part=self,
            )

    def check_quantization(self, full_weights_for: str | None = None) -> None:
        """Check that the model's files allow the configured quantization.

        Args:
            full_weights_for: a setting that needs unquantized weights.

        Raises:
            ConfigError: they do not.
        """
        needed_for = MERGE_KEY if self.merge_adapter else full_weights_for
        with arguments_of(self):
            check_quantization(stored_quantization(self.load_config()), self.quantization, self.path, needed_for)

    def check_unquantized(self) -> None:
        """Raise ConfigError if quantization is set: quantized weights cannot be trained."""
        if self.quantization != "none":
            raise ConfigError(
                f"quantization is {self.quantization}, but {FULL} needs full weights",
                "Set quantization to none, or give model.lora",
                part=self,
            )

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """Return the dtype of matrix products on a device.

        Raises:
            ConfigError: the device does not support `compute_dtype`.
        """
        with arguments_of(self):
            return resolve_dtype(self.compute_dtype, device)

    def _quantization_config(self, dtype: torch.dtype, empty: PreTrainedModel) -> BitsAndBytesConfig | None:
        """Return bitsandbytes' settings; the output head is not quantized, as in QLoRA (Dettmers et al. 2023)."""
        if self.quantization == "none":
            return None
        head = empty.get_output_embeddings()
        names = dict(empty.named_modules())
        for skipped in self.skip_modules or []:
            if all(should_convert_module(name, [skipped]) for name in names):
                raise ConfigError(
                    f"skip_modules names {skipped}, and the model has no such module",
                    "Remove it, or give the name of a module, such as model.layers.0",
                    part=self,
                )
        skipped_names = [name for name, module in names.items() if module is head] + (self.skip_modules or [])
        if self.quantization == "int8":
            return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped_names)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            llm_int8_skip_modules=skipped_names,
            bnb_4bit_quant_type=self.quantization,
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=getattr(torch, self.quant_storage),
        )
