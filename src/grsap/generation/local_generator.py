"""Base class of generators that load a base model in this process."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from grsap.generation.base import Generator
from grsap.models.adapters import adapter_folder, adapter_hash
from grsap.models.base import BaseModel
from grsap.text.template import ChatTemplate


class LocalGenerator(Generator):
    """A base model with an optional PEFT adapter.

    Args:
        base: the base model.
        adapter: folder of the adapter; None for the base model alone.

    Raises:
        ModelError: the adapter is missing or does not fit the base.
    """

    def __init__(self, base: BaseModel, adapter: str | None) -> None:
        base.check_weights()
        self.base = base
        self.adapter = None if adapter is None else self.check_adapter(adapter)

    def check_adapter(self, adapter: str) -> Path:
        """Check that an adapter fits the base, without loading weights; return its folder.

        Raises:
            ModelError: the adapter is missing or does not fit the base.
        """
        folder = adapter_folder(adapter)
        self.base.check_adapter(folder)
        return folder

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of the base."""
        return self.base.tokenizer

    @property
    def template(self) -> ChatTemplate:
        """Chat template of the base."""
        return self.base.template

    @property
    def model_name(self) -> str:
        """Name of the base."""
        return self.base.name

    @cached_property
    def base_revision(self) -> str:
        """Revision of the base's weights without an adapter; cached, because it reads their files."""
        return self.base.weights_revision()

    def weights_revision(self) -> str:
        """Return the revision of the base and the hash of the adapter."""
        return "+".join(part for part in (self.base_revision, adapter_hash(self.adapter)) if part)

    def identity(self) -> dict[str, Any]:
        """Identify base and adapter."""
        return {**super().identity(), "base": self.base.identity(), "adapter_hash": adapter_hash(self.adapter)}
