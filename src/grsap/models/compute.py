"""Devices and number formats of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from grsap.errors import ConfigError

ComputeDtype = Literal["auto", "bfloat16", "float16", "float32"]

_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")


def cpu_flags() -> frozenset[str]:
    """Feature flags of the processor; empty on systems without /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run in hardware: CUDA cards from Ampere, processors with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and not cpu_flags().isdisjoint(_BF16_FLAGS)


def logits_chunk_size(device: torch.device) -> int:
    """Tokens whose logits are held at once: on a processor 256, which saves memory and no time (decision 0011)."""
    return 256 if device.type == "cpu" else 1024


def resolve_device(name: str) -> torch.device:
    """The device of a setting; `auto` is the first GPU, or the processor where there is none.

    Raises:
        ConfigError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}, which does not exist", "Give auto, cpu, cuda or cuda:NUMBER") from error
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= num_cuda:
        raise ConfigError(
            f"device is {name}, and this machine has {num_cuda} CUDA devices", "Give auto, cpu, or one that exists"
        )
    return device


def resolve_dtype(name: ComputeDtype, device: torch.device) -> torch.dtype:
    """The dtype to compute in; `auto` is bf16 where the hardware is good at it, else float32.

    Raises:
        ConfigError: float16 on a processor, where it is slow and overflows.
    """
    if name == "auto":
        return torch.bfloat16 if is_fast_in_bf16(device) else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ConfigError("compute_dtype is float16 on a CPU", "Use auto, bfloat16 or float32")
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[name]
