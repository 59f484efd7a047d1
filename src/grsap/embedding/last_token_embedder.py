"""The last token's hidden state of a causal language model: the features with which MAUVE was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from grsap.embedding.base import Embedder, by_length, check_folder, weights_revision
from grsap.errors import ConfigError
from grsap.files import user_path
from grsap.models.compute import resolve_device
from grsap.models.pretrained import Pretrained


class LastTokenEmbedder(Embedder):
    """The final hidden state of a text's last token, in float32; a text without tokens has no vector.

    With GPT-2 large these are the default features of MAUVE's reference code (Pillutla et al. 2021, arXiv 2102.01454).

    Args:
        path: a Hub id or a folder of a causal language model.
        revision: commit of a Hub id.
        device: such as `cuda`; `auto` is the first GPU, or the CPU if there is none.
        batch_size: texts per batch.
        max_length: tokens of a text; later ones are cut.

    Raises:
        ConfigError: `batch_size` or `max_length` is not positive.
    """

    def __init__(
        self,
        path: str = "openai-community/gpt2-large",
        revision: str | None = None,
        device: str = "auto",
        batch_size: int = 16,
        max_length: int = 1024,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("max_length", max_length)):
            if value < 1:
                raise ConfigError(f"{name} is {value}", "Give at least 1")
        self.path = path
        self.revision = revision
        self.device = device
        self.batch_size = batch_size
        self.max_length = max_length
        self._model: Any = None
        self._tokenizer: Any = None

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield batches of texts of similar length."""
        if texts:
            self._load()
        for indices in by_length(texts, self.batch_size):
            rows = [
                torch.tensor(self._tokenizer(texts[index], truncation=True, max_length=self.max_length)["input_ids"])
                for index in indices
            ]
            yield indices, self._last_states(rows)

    def _last_states(self, rows: Sequence[torch.Tensor]) -> np.ndarray:
        """Return (B, D) final states of the last tokens of B rows of ids (L,); 0 for a row of no ids."""
        lengths = torch.tensor([len(row) for row in rows])
        vectors = torch.zeros(len(rows), self._model.config.hidden_size)
        has_tokens = lengths > 0
        if has_tokens.any():
            ids = pad_sequence([row for row in rows if len(row)], batch_first=True)
            kept = lengths[has_tokens]
            mask = (torch.arange(ids.shape[1]) < kept[:, None]).long()
            device = self._model.device
            with torch.inference_mode():
                hidden = self._model(ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            vectors[has_tokens] = hidden[torch.arange(len(kept)), kept - 1].float().cpu()
        return vectors.numpy()

    def identity(self) -> dict[str, Any]:
        """Return model, revision, greatest length, and the batch size, which changes the last digits."""
        return {
            "embedder": type(self).__name__,
            "model": self.path,
            "revision": weights_revision(self.path, self.revision),
            "batch_size": self.batch_size,
            "max_length": self.max_length,
        }

    def check(self) -> None:
        """Check the device, and the headers of a folder's weights.

        Raises:
            ConfigError: this machine lacks the device.
            ModelError: a weight file is damaged.
        """
        resolve_device(self.device)
        check_folder(self.path)

    def close(self) -> None:
        """Free the weights."""
        self._model = self._tokenizer = None

    def _load(self) -> None:
        if self._model is None:
            folder = user_path(self.path)
            stored = Pretrained(str(folder) if folder.exists() else self.path, self.revision, part=self)
            self._tokenizer = stored.tokenizer()
            model: Any = stored.load(dtype=torch.float32).base_model
            self._model = model.to(resolve_device(self.device)).eval()
