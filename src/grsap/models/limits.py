"""Limits of a model's input: embedded token ids, and learned positions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn
from transformers import PreTrainedModel

from grsap.errors import ModelError

# Names of tables with one row per position in all architectures; rotary embeddings and ALiBi have none.
_POSITION_TABLE = re.compile(
    r"(^|\.)(wpe|pos_encoding|embed_positions|positions?_embed(ding)?s?|position_embeddings)(\.weight)?$"
)
_OTHER_MODALITY = re.compile(r"vision|visual|image|audio|speech")


@dataclass(frozen=True)
class Limits:
    """Limits of one model's input.

    Attributes:
        num_tokens: number of token ids that both embedding and output head have.
        num_positions: tokens of the longest possible row; None if positions are computed.
    """

    num_tokens: int
    num_positions: int | None

    def check(self, ids: Sequence[int] | npt.NDArray[np.int32], what: str, num_new: int = 0) -> None:
        """Check that a row fits the model.

        Args:
            ids: token ids of the row.
            what: name of the row in error messages.
            num_new: number of tokens to generate after it.

        Raises:
            ModelError: a token has no embedding, or the row has more tokens than the model has positions.
        """
        if len(ids) and (largest := int(np.max(ids))) >= self.num_tokens:
            raise ModelError(
                f"{what}: token {largest} is beyond the model's embedding, which has {self.num_tokens} rows",
                "Set base.path (in a run model.base.path) to a folder whose tokenizer and template fit its weights",
            )
        if self.num_positions is not None and len(ids) + num_new > self.num_positions:
            new = f" and {num_new} new ones" if num_new else ""
            setting = "max_new_tokens, or shorten the prompt" if num_new else "data.encoding.max_length"
            raise ModelError(
                f"{what}: {len(ids)} tokens{new} are more than the {self.num_positions} positions that the model has",
                f"Lower {setting}",
            )


def model_limits(model: PreTrainedModel) -> Limits:
    """Return the limits of a model in memory or on the meta device."""
    layers: list[Any] = [model.get_input_embeddings(), model.get_output_embeddings()]
    sizes = [int(layer.weight.shape[0]) for layer in layers if hasattr(layer, "weight")]
    return Limits(min(sizes), _num_positions(model))


def _num_positions(model: PreTrainedModel) -> int | None:
    config = model.config.get_text_config()
    if config.model_type == "mpt":  # MPT allocates its ALiBi biases for this many positions
        return int(config.max_seq_len)
    tables = list(_position_tables(model))
    if not tables:
        return None
    # The tables of OPT and BART have two more rows than there are positions.
    declared = getattr(config, "max_position_embeddings", None)
    return min(tables if declared is None else [*tables, int(declared)])


def _position_tables(model: PreTrainedModel) -> Iterator[int]:
    """Yield the number of rows of each position table, which is an embedding or a plain tensor (GPT-J, CTRL)."""
    tokens = model.get_input_embeddings()
    for name, module in model.named_modules():
        if _OTHER_MODALITY.search(name) or module is tokens:
            continue
        if isinstance(module, nn.Embedding) and _POSITION_TABLE.search(name):
            yield module.num_embeddings
        for own, tensor in (*module.named_buffers(recurse=False), *module.named_parameters(recurse=False)):
            if tensor.dim() == 2 and own != "weight" and _POSITION_TABLE.search(own):
                yield int(tensor.shape[0])
