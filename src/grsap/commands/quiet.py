"""Keep advertisements and advice of libraries off the console. Called before their import; standard library only."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from functools import partial

# Lightning sets the levels of its two upper loggers when it is imported; those below keep what is set here.
_TALKATIVE = (
    "bitsandbytes",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.utilities.rank_zero",
    "lightning_utilities.core.rank_zero",
    "torchao",
)
_WARNING_MODULES = r"(lightning|torch|transformers|peft|bitsandbytes|jsonargparse)\b.*"
# Warnings about missing, unexpected or mismatched weights are always shown.
_ABOUT_WEIGHTS = (
    r"(?is).*\b(missing|unexpected|(mis)?match(ed)?|(newly|not|re)[ -]?initiali[sz](ed|ation)|invalid shape|not find|"
    r"excluded|(un)?tied?|tie_word_embeddings)\b"
)

# Harmless log lines that are hidden: logger -> how the line begins.
_KNOWN_LINES = {
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward from kernels-community",  # a faster kernel
    "transformers.quantizers.quantizer_gguf": "Loading a GGUF checkpoint with its weights packed",  # they are converted
}


def _begins_otherwise(beginning: str, record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(beginning)


def leave_out_known_lines() -> None:
    """Hide two log lines that concern speed only; everything else that their loggers write is shown."""
    for name, beginning in _KNOWN_LINES.items():
        logging.getLogger(name).addFilter(partial(_begins_otherwise, beginning))


def quieten() -> None:
    """Hide advertisements, device lists and advice, not errors. It is not called with `--debug`."""
    leave_out_known_lines()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=_WARNING_MODULES)
    warnings.filterwarnings("default", message=_ABOUT_WEIGHTS, module=r"(transformers|peft|bitsandbytes)\b.*")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")
