"""Merge of an adapter into a base before quantization."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from grsap.errors import ModelError
from grsap.files import hash_json
from grsap.models.adapters import load_adapter
from grsap.models.cache import cached_folder
from grsap.models.evaluation_mode import evaluating
from grsap.models.pretrained import Pretrained
from grsap.models.weight_files import WeightFiles

FORMAT = 2
"""Format of the merged folder, part of its cache key."""
MAX_DIFFERENCE = 1e-3
"""Largest relative difference of float32 logits before and after the merge; rounding causes less than 1e-5."""
_PROBE_IDS = range(5, 37)


def merged_folder(base: Pretrained, adapter: Path, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> Path:
    """Merge `adapter` into `base` once, into a cached Hugging Face folder; return its path.

    The merge is computed in float32. The folder's name contains hashes of all files of base and adapter, and its size
    is that of the whole model.

    Args:
        base: the stored base.
        adapter: folder of a PEFT adapter.
        tokenizer: tokenizer of the base.
        dtype: dtype of the merged weights.

    Raises:
        ModelError: the adapter does not fit, or the merged model is not equivalent to base and adapter.
    """
    key = hash_json([FORMAT, base.content_hash(), WeightFiles.of_adapter(adapter).hash])

    def merge(folder: Path) -> None:
        model, _ = load_adapter(base.load(dtype=torch.float32), adapter)
        expected = _logits(model)
        untie(model)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tie", module="peft")  # `untie` has solved this
            merged: Any = model.merge_and_unload(safe_merge=True)
        if any(isinstance(layer, (BaseTunerLayer, AuxiliaryTrainingWrapper)) for layer in merged.modules()):
            raise ModelError(
                f"PEFT cannot merge all layers of the adapter {adapter}", "Use the adapter without merging it"
            )
        _mark_untied(merged)
        _check_same(expected, _logits(merged), adapter, "merging")
        _cast(merged, dtype)
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _cast(merged, torch.float32)
        saved = _logits(merged)
        del model, merged
        gc.collect()
        _check_same(saved, _logits(replace(base, source=str(folder)).load(dtype=torch.float32)), adapter, "saving")

    return cached_folder(f"merged-{key}", merge)


def untie(model: nn.Module) -> None:
    """Copy weights that an adapted layer shares with others, such as tied embeddings.

    Otherwise the merge would change the other layers too.
    """
    for places in shared_weights(model):
        for module, name in places[1:]:
            parameter = getattr(module, name)
            setattr(module, name, nn.Parameter(parameter.detach().clone(), parameter.requires_grad))


def shared_weights(model: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return (module, parameter name) of all owners, for each shared parameter that the adapter changes."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((module, name))
    adapted = {id(layer) for layer in map(_adapted_layer, model.modules()) if layer is not None}
    shared = [places for places in owners.values() if len(places) > 1]
    return [places for places in shared if any(id(module) in adapted for module, _ in places)]


def _adapted_layer(module: nn.Module) -> nn.Module | None:
    """Return the base layer that an adapter's layer wraps; None for other modules."""
    if isinstance(module, BaseTunerLayer):
        return module.get_base_layer()
    return module.original_module if isinstance(module, AuxiliaryTrainingWrapper) else None


def _mark_untied(model: PreTrainedModel) -> None:
    """Mark weights that are no longer equal as untied, so that all are saved and loaded."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    if all(model.get_parameter(target) is model.get_parameter(source) for target, source in tied.items()):
        return
    model.all_tied_weights_keys = {}
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast parameters only: unsaved buffers, such as rotary frequencies, must keep their precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _logits(model: nn.Module) -> Tensor:
    """Return the float32 logits of some fixed tokens, (L, V)."""
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    ids = torch.tensor([[id_ % embeddings.weight.shape[0] for id_ in _PROBE_IDS]], device=embeddings.weight.device)
    with evaluating(model):
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0].float()
    return logits


def _check_same(expected: Tensor, found: Tensor, adapter: Path, what: str) -> None:
    difference = float((found - expected).norm() / expected.norm())
    if not difference < MAX_DIFFERENCE:
        raise ModelError(
            f"{what} the adapter {adapter} would change the model: its logits differ by {difference:.0%}",
            "Use the adapter without merging it, or merge it elsewhere and give the merged folder as model.base.path",
        )
