"""Merging an adapter into a base before it is quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from grsap.files import hash_bytes, hash_file
from grsap.models.cache import cached_folder


def merged_folder(
    source: str,
    revision: str | None,
    adapter: Path,
    load_model: Callable[[], PreTrainedModel],
    load_tokenizer: Callable[[], PreTrainedTokenizerBase],
) -> Path:
    """A cached Hugging Face folder of `source` with `adapter` merged in, in bf16.

    The merge is computed in float32. The folder's name holds a hash of the source and of the adapter's files, so that
    another adapter makes another folder, and so do other files in a source that is a folder. It needs the size of the
    whole model in bf16 on disk, once.

    Args:
        source: folder or Hub id of the base.
        revision: of a Hub id.
        adapter: folder of a PEFT adapter.
        load_model: loads the base in float32.
        load_tokenizer: loads its tokenizer.
    """
    files = sorted(adapter.glob("adapter_*"))
    key = hash_bytes("|".join([source, str(revision), *_stamps(Path(source)), *map(hash_file, files)]).encode())

    def merge(folder: Path) -> None:
        merged = PeftModel.from_pretrained(load_model(), str(adapter)).merge_and_unload(safe_merge=True)
        merged.to(torch.bfloat16).save_pretrained(folder)
        load_tokenizer().save_pretrained(folder)

    return cached_folder(f"merged-{key}", merge)


def _stamps(folder: Path) -> list[str]:
    """Name, size and time of each file of a folder: a base that was trained on in place is another one."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()]
