"""What each side of a training cell notes, in the same words. Standard library only: every environment has it.

Times are seconds of the system's monotonic clock, which the runner shares by the environment variable BENCH_STARTED.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import time
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "lightning",
    "accelerate",
    "bitsandbytes",
    "liger-kernel",
    "unsloth",
)

Row = tuple[Sequence[int], Sequence[bool]]
"""Token ids without padding, and which of them are supervised."""


class Record:
    """Counts and times the steps of one process.

    Args:
        job: what the runner asked for; see `benchmarks/runner/cell.py: Job`.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.started = float(os.environ.get("BENCH_STARTED") or time.monotonic())
        self.import_seconds = 0.0
        self.begins: list[float] = []
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.rows: list[list[str]] = []
        self.tokens: list[int] = []
        self.supervised: list[int] = []
        self.adapter_hash = ""

    @classmethod
    def from_command_line(cls) -> Record:
        """Of the job whose file is the first argument."""
        return cls(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

    def imports_done(self) -> None:
        """What a user's process imports is there."""
        self.import_seconds = time.monotonic() - self.started

    def step_begins(self) -> None:
        """The next optimizer step has its data."""
        self.begins.append(time.monotonic())
        self.rows.append([])
        self.tokens.append(0)
        self.supervised.append(0)
        self.losses.append(0.0)

    def saw(self, rows: Iterable[Row]) -> None:
        """Rows of the step that runs."""
        for ids, supervised in rows:
            content = array("q", ids).tobytes() + bytes(supervised)
            self.rows[-1].append(hashlib.blake2b(content, digest_size=8).hexdigest())
            self.tokens[-1] += len(ids)
            self.supervised[-1] += sum(supervised)

    def step_ends(self) -> None:
        """The weights are updated."""
        self.ends.append(time.monotonic())

    def adapter(self, values: Iterable[Any]) -> None:
        """Note the trainable weights (tensors) as training begins."""
        digest = hashlib.blake2b(digest_size=8)
        for value in values:
            digest.update(value.detach().float().cpu().numpy().tobytes())
        self.adapter_hash = digest.hexdigest()

    def steady_seconds(self) -> float:
        """From the end of the steps that are left out to the end of the last."""
        return self.ends[-1] - self.ends[self._skipped() - 1]

    def steady_rows(self) -> int:
        """Rows of the steps that `steady_seconds` spans."""
        return sum(len(rows) for rows in self.rows[self._skipped() :])

    def write(self, **more: Any) -> None:
        """Write everything to the job's `out`; training and saving are over."""
        seconds = time.monotonic() - self.started - self.import_seconds
        skipped = self._skipped()
        steady, peak = self.steady_seconds(), peak_bytes()
        record = {
            "seconds": seconds,
            "import_seconds": self.import_seconds,
            "seconds_before_first_step": self.begins[0] - self.started,
            "first_step_seconds": self.ends[0] - self.begins[0],
            "steps_seconds": self.ends[-1] - self.begins[0],
            "steady_seconds": steady,
            "tokens_per_s": sum(self.tokens[skipped:]) / steady,
            "tokens_per_s_end_to_end": sum(self.tokens) / seconds,
            "step_seconds": [end - begin for begin, end in zip(self.begins, self.ends, strict=True)],
            "num_steps": len(self.ends),
            "skipped_steps": skipped,
            "tokens": self.tokens,
            "supervised": self.supervised,
            "losses": self.losses,
            "rows": self.rows,
            "adapter_hash": self.adapter_hash,
            "peak_bytes": peak,
            "peak_gb": peak / 2**30,
            "versions": versions(),
            **more,
        }
        Path(self.job["out"]).write_text(json.dumps(record, allow_nan=False), encoding="utf-8")

    def _skipped(self) -> int:
        """Steps left out of the steady state: at least 1, and one step remains."""
        if len(self.ends) < 2:
            raise SystemExit("a side needs at least 2 steps to tell its steady state")
        return min(max(1, int(self.job["skipped_steps"])), len(self.ends) - 1)


def peak_bytes() -> int:
    """Peak memory: PyTorch's allocations on a GPU, else resident memory of this process by the kernel's own mark."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/self/status does not tell VmHWM")


def matmul_parameters(model: Any) -> int:
    """Parameters N of the linear layers, the output layer included: a token's forward pass takes 2 N operations."""
    import torch

    layers = (layer for name, layer in model.named_modules() if "lora_" not in name)
    return sum(layer.in_features * layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear))


def versions() -> dict[str, str]:
    """Of what is installed here."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
