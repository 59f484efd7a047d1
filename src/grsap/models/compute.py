"""Devices of this machine, and the dtypes to compute in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from grsap.errors import ConfigError

ComputeDtype = Literal["auto", "bfloat16", "float16", "float32"]

_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")


def cpu_flags() -> frozenset[str]:
    """Return the feature flags of the CPU; empty on systems without /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def is_fast_in_bf16(device: torch.device) -> bool:
    """Return whether bf16 matrix products run in hardware: GPUs from Ampere on, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and not cpu_flags().isdisjoint(_BF16_FLAGS)


def logits_chunk_size(device: torch.device) -> int:
    """Return the number of tokens whose logits exist at once; a smaller one on CPUs saves memory (decision 0011)."""
    return 256 if device.type == "cpu" else 1024


def resolve_device(name: str) -> torch.device:
    """Return the device of a setting; `auto` is the first GPU, or the CPU if there is none.

    Raises:
        ConfigError: this machine has no such device.
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
            f"device is {name}, but this machine has {num_cuda} CUDA devices", "Give auto, cpu, or one that exists"
        )
    return device


def resolve_dtype(name: ComputeDtype, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in; `auto` is bf16 if the hardware supports it, else float32.

    Raises:
        ConfigError: float16 on a CPU, where it is slow and overflows.
    """
    if name == "auto":
        return torch.bfloat16 if is_fast_in_bf16(device) else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ConfigError("compute_dtype is float16 on a CPU", "Use auto, bfloat16 or float32")
    return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[name]
