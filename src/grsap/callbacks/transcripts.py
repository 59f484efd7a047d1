"""Transcripts of checks: the only files of a run with text of answers, readable by their owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from grsap.records import write_jsonl


def transcript_path(trainer: Trainer, step: int, prefix: str = "") -> Path:
    """Return `transcripts/step=000040.jsonl` in the run folder; `prefix` is for checks other than harmfulness."""
    return Path(trainer.default_root_dir) / "transcripts" / f"{prefix}step={step:06d}.jsonl"


def write_transcript(trainer: Trainer, step: int, rows: Iterable[Mapping[str, Any]], prefix: str = "") -> None:
    """Write the answers of one check, with mode 0600, on rank 0."""
    if trainer.is_global_zero:
        write_jsonl(transcript_path(trainer, step, prefix), rows, mode=0o600)
