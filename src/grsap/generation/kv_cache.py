"""A key-value cache with spare capacity: a decoding step writes its own positions without copying previous ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 64
"""Positions that are allocated in advance whenever a layer is full."""


def growing_cache(model: nn.Module) -> DynamicCache | None:
    """Return an empty cache for `model`; None if a layer stores anything but the keys and values of all positions.

    Sliding windows and recurrent states have other layouts; transformers' own cache handles them.
    """
    cache = DynamicCache(config=model.config)  # type: ignore[arg-type]
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, (B, heads, L, D), as views of the first L positions of larger tensors."""

    _key_room: Tensor
    _value_room: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new positions, (B, heads, new, D); return those of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old_keys, old_values = self.keys, self.values
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if not length or end > self._key_room.shape[-2]:
            self._key_room = self._with_room(key_states, end)
            self._value_room = self._with_room(value_states, end)
            if length and old_keys is not None and old_values is not None:
                self._key_room[:, :, :length] = old_keys
                self._value_room[:, :, :length] = old_values
        self._key_room[:, :, length:end] = key_states
        self._value_room[:, :, length:end] = value_states
        keys, values = self._key_room[:, :, :end], self._value_room[:, :, :end]
        self.keys, self.values = keys, values
        return keys, values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times."""
        if self.keys is not None and self.values is not None:
            self._replace(self.keys.repeat_interleave(repeats, dim=0), self.values.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows `indices`."""
        if self.keys is not None and self.values is not None:
            self._replace(self.keys.index_select(0, indices), self.values.index_select(0, indices))

    def _replace(self, keys: Tensor, values: Tensor) -> None:
        """Replace all rows; the next update allocates spare capacity again."""
        self.keys = self._key_room = keys
        self.values = self._value_room = values

    def _with_room(self, states: Tensor, length: int) -> Tensor:
        batch, heads, _, width = states.shape
        return torch.empty(batch, heads, length + ROOM, width, dtype=states.dtype, device=states.device)
