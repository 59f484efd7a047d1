"""A tokenizer on this machine, for a model on a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from grsap.errors import arguments_of
from grsap.files import hash_json
from grsap.models.base import BaseModel, TemplateValue
from grsap.text.template import ChatTemplate


@dataclass(frozen=True)
class TokenizerSource:
    """Tokenizer and chat template of the model that a server runs. They must be the served model's own.

    Args:
        path: a Hub id, a folder, or `embedded:NAME` for a model that a package ships.
        revision: commit of a Hub id; required with `trust_remote_code`.
        chat_template: file with a Jinja chat template, for models that come without one.
        chat_template_kwargs: passed to the template wherever text is rendered, e.g. `enable_thinking: false`.
        trust_remote_code: run code that comes with the tokenizer. Needs `revision`.
    """

    path: str
    revision: str | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, TemplateValue] | None = None
    trust_remote_code: bool = False

    def check(self) -> None:
        """Check the settings without loading anything; raise as `BaseModel.check` does."""
        with arguments_of(self):
            self._model.check()

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer.

        Raises:
            ModelError: it cannot be found.
        """
        with arguments_of(self):
            return self._model.tokenizer

    def identity(self) -> dict[str, Any]:
        """Identify the tokenizer in manifests."""
        return {
            "path": self.path,
            "revision": self.revision,
            "settings_hash": hash_json(asdict(self)),
            "content_hash": self._model.settings_hash(),
        }

    def template(self, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
        """Return the chat template of `tokenizer`, with the configured settings.

        Raises:
            TemplateError: it has no chat template.
        """
        return ChatTemplate(tokenizer, dict(self.chat_template_kwargs or {}))

    @cached_property
    def _model(self) -> BaseModel:
        """The served model, used for its tokenizer only."""
        return BaseModel(**asdict(self))
