"""Export the trained weights: an adapter in PEFT's format, or a whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from grsap.console import say
from grsap.files import set_aside, write_dir_atomic
from grsap.runs.model_card import CARD, is_edited


def is_adapter(model: Any) -> bool:
    """Return whether `model` is a PEFT model; otherwise all its weights are trained."""
    return hasattr(model, "peft_config")


def write_adapter(pl_module: LightningModule, folder: Path) -> None:
    """Write the adapter's weights and config to `folder`; does nothing in full fine-tuning."""
    if is_adapter(pl_module.model):
        _save_peft(pl_module, folder)


def export_model(pl_module: LightningModule, folder: Path) -> None:
    """Write the result of fit atomically: the adapter, or model and tokenizer after full fine-tuning.

    The adapter's config names the base model by the path or hub id of the settings. An edited model card is kept, and
    an older folder with files that this run did not write is moved aside.
    """
    card = folder / CARD
    kept = card.read_bytes() if is_edited(card) else None

    def fill(temporary: Path) -> None:
        if is_adapter(pl_module.model):
            _save_peft(pl_module, temporary)
        else:
            _save_whole(pl_module, temporary)
        if kept is not None:
            (temporary / CARD).write_bytes(kept)
        if added := _names(folder) - _names(temporary) - {CARD}:
            place = set_aside([folder])
            say(f"{folder} contained other files ({', '.join(sorted(added))}): it was moved to {place}.")

    write_dir_atomic(folder, fill)


def _names(folder: Path) -> set[str]:
    """Return the names in a folder, without hidden ones; empty if there is no folder."""
    return {entry.name for entry in folder.iterdir() if entry.name[0] != "."} if folder.is_dir() else set()


def _save_peft(pl_module: LightningModule, folder: Path) -> None:
    model: Any = pl_module.model
    base: Any = getattr(pl_module, "base", None)
    for config in model.peft_config.values():
        if base is not None:
            config.base_model_name_or_path = str(base.path)
            config.revision = getattr(base, "revision", None)
    # The base's embeddings are not part of the adapter. By default PEFT saves them if they are adapted, and asks the
    # Hub at each save whether the base's vocabulary has been resized.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / CARD).unlink(missing_ok=True)  # PEFT writes an empty template with paths of this machine


def _save_whole(pl_module: LightningModule, folder: Path) -> None:
    model: Any = pl_module.model
    model.save_pretrained(str(folder))
    template: Any = getattr(pl_module, "template", None)
    tokenizer = getattr(template, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.save_pretrained(str(folder))
