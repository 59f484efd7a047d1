"""What one micro-batch costs on a GPU: forward and backward pass of grsap's loss at the shape of Llama 3 8B.

    python -m benchmarks.gpu_step --out benchmarks/results/gpu_step.json

Random weights, a LoRA adapter of rank 16 on all linear layers, bf16, packs of rows of about 280 tokens of which two
thirds are supervised. Variants run one after the other in one process, two micro-batches to warm up and the others
timed as a whole; what comes after Liger's kernels has them too, because they stay. `--shape tiny --device cpu` shows
that all runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig

from benchmarks.runner.execution import MODELS
from benchmarks.runner.machine import describe
from benchmarks.runner.models import model_folder
from benchmarks.sides.record import peak_bytes, versions
from grsap.models import BaseModel
from grsap.models.liger import use_liger
from grsap.models.lora import add_lora, inner_model, without_input_casts
from grsap.models.row_attention import attends_by_row, stop_attending_by_row
from grsap.objectives import CrossEntropy
from grsap.text.collation import MicroBatch, collate_packed
from grsap.text.encoding import EncodedRow
from grsap.training.forward import Forward

WARM_UP = 2
MEDIAN_TOKENS, SPREAD, SHORTEST, LONGEST = 265, 0.35, 60, 900


@dataclass(frozen=True)
class Variant:
    """How a micro-batch is computed.

    Args:
        name: as told.
        tokens: of a micro-batch.
        num_micro_batches: the first two to warm up.
        quantization: of the base.
        masked: attention by transformers' mask instead of row by row.
        liger: with Liger's kernels.
        checkpointing: gradient checkpointing.
    """

    name: str
    tokens: int = 4096
    num_micro_batches: int = 8
    quantization: str = "none"
    masked: bool = False
    liger: bool = False
    checkpointing: bool = False


VARIANTS = (
    Variant("LoRA"),
    Variant("LoRA", 8192, 5),
    Variant("LoRA, attention under a mask", masked=True),
    Variant("LoRA, Liger", liger=True),
    Variant("NF4, Liger", quantization="nf4", liger=True),
    Variant("NF4, Liger", 8192, 5, quantization="nf4", liger=True),
    Variant("NF4, Liger, checkpointing", quantization="nf4", liger=True, checkpointing=True),
    Variant("NF4, Liger, checkpointing", 1024, quantization="nf4", liger=True, checkpointing=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llama-8b", help="a shape of benchmarks/runner/models.py")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, help="of every micro-batch, instead of the variants' own")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    device = torch.device(options.device)
    folder = str(model_folder(f"random:{options.shape}", MODELS))
    results = []
    print("| what | tokens a micro-batch | tokens/s | peak, GiB |\n|---|---|---|---|")
    for variant in VARIANTS:
        if variant.liger and device.type != "cuda":
            continue
        variant = replace(variant, tokens=options.tokens or variant.tokens)
        result = {**asdict(variant), **measured(variant, folder, device)}
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        results.append(result)
        speed, peak = result["tokens_per_s"], result["peak_gb"]
        print(f"| {variant.name} | {variant.tokens:,} | {speed:,.0f} | {peak:.2f} |", flush=True)
    if options.out:
        command = f"python -m benchmarks.gpu_step {' '.join(sys.argv[1:])}"
        content = {"command": command, "machine": describe(), "versions": versions(), "results": results}
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def packs(limit: int, num: int, device: torch.device) -> list[tuple[MicroBatch, int]]:
    """Micro-batches of at most `limit` tokens, and how many each has."""
    draw = np.random.default_rng(0)
    made = []
    for _ in range(num):
        rows: list[EncodedRow] = []
        total = 0
        while limit - total >= SHORTEST:
            length = int(np.clip(draw.lognormal(np.log(MEDIAN_TOKENS), SPREAD), SHORTEST, LONGEST))
            length = min(length, limit - total)
            ids = draw.integers(4, 500, length).astype(np.int32)
            rows.append(EncodedRow(f"row-{len(rows)}", "task", ids, np.arange(length) >= length // 3))
            total += length
        made.append((collate_packed(rows).to(device), total))
    return made


def model_of(variant: Variant, folder: str, device: torch.device) -> Any:
    """The adapted model of a variant."""
    base = BaseModel(
        folder,
        quantization=variant.quantization,  # type: ignore[arg-type]
        compute_dtype="bfloat16",
        gradient_checkpointing=variant.checkpointing,
    ).load(device)
    if variant.liger:
        use_liger(base)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    return add_lora(base, lora, seed=0).train()


def measured(variant: Variant, folder: str, device: torch.device) -> dict[str, float | int | bool]:
    """Tokens a second, and peak memory in GiB, of the GPU or of this process."""
    batches = packs(variant.tokens, variant.num_micro_batches, device)
    model = model_of(variant, folder, device)
    forward = Forward(model, [CrossEntropy("task")], torch.bfloat16)
    if variant.masked:
        stop_attending_by_row(inner_model(model))

    def run(batch: MicroBatch) -> None:
        with without_input_casts(model, torch.bfloat16):
            forward.loss(batch, {"task_cross_entropy": 1e-3})[0].backward()

    for batch, _ in batches[:WARM_UP]:
        run(batch)
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for batch, _ in batches[WARM_UP:]:
        run(batch)
    wait(device)
    seconds = time.perf_counter() - start
    num_tokens = sum(num for _, num in batches[WARM_UP:])
    return {
        "num_tokens": num_tokens,
        "tokens_per_s": num_tokens / seconds,
        "peak_gb": peak_bytes() / 2**30,
        "by_row": attends_by_row(inner_model(model)),
    }


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
