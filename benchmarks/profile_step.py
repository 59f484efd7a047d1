"""Where a training step on a processor spends its time, and how fast it could be at most.

    python -m benchmarks.profile_step

One step of the bare loop with packing, logits at supervised positions and attention row by row (`sides/loop.py`), LoRA
on SmolLM2-135M in float32: what `grsap fit` computes, without its bookkeeping. Prints Markdown: the share of each kind
of work; the speed of products of the base's own shapes, measured alone in this process; and the tokens/s of a step that
did nothing but those products at that speed, which nothing that computes the same in float32 can pass.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "sides"))

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("flash_attention", "attention_by_row"),
    "softmax and loss": ("log_softmax", "nll_loss"),
}
"""What the name of an operation holds; all else is elementwise work and copies."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, step = prepare(options.rows)
    num_tokens, num_supervised = step.ids.shape[1], int((step.labels[:, 1:] != -100).sum())
    run(model, step)
    seconds = min(timed(lambda: run(model, step)) for _ in range(3))
    shares = shares_of(lambda: run(model, step))
    layers, head = linear_shapes(model)
    operations = 4.0 * (num_tokens * sum(a * b for a, b in layers) + num_supervised * head[0] * head[1])
    seconds_of = {shape: product_seconds(num_tokens, *shape) for shape in dict.fromkeys(layers)}
    least = sum(seconds_of[shape] for shape in layers) + product_seconds(num_supervised, *head)
    rate = f"{seconds:.1f} s, {num_tokens / seconds:.0f} tokens/s"
    print(f"A step of {num_tokens:,} tokens, {num_supervised:,} supervised: {rate}")
    print("\n| work | share of the step |\n|---|---|")
    for kind, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"| {kind} | {share:.0%} |")
    limit = f"{least:.1f} s: at most {num_tokens / least:.0f} tokens/s"
    print(f"\nThe base's products alone, forward and by their inputs: {operations / 1e12:.2f} TFLOP.")
    print(f"Measured alone they run at {operations / least / 1e9:.0f} GFLOPS here, which is {limit}.")
    return 0


def prepare(num_rows: int) -> tuple[Any, Any]:
    """The adapted model, and a packed step of the benchmarks' rows."""
    import loop
    import rows_file

    from benchmarks.runner.cell import Job
    from benchmarks.runner.execution import SIDES
    from benchmarks.runner.models import model_folder
    from benchmarks.runner.rows import make_rows
    from grsap.models.row_attention import attend_by_row

    job = {
        "model": str(model_folder(Job.model, Path())),
        "dtype": "float32",
        "device": "cpu",
        "lora_r": Job.lora_r,
        "seed": 0,
        "chat_template": str(SIDES / "chat_template.jinja"),
    }
    tokenizer = rows_file.load_tokenizer(job)
    rows = [loop.encode(tokenizer, row) for row in make_rows(num_rows, 0)]
    model = rows_file.load_with_adapter(job)
    attend_by_row(model.get_base_model())
    return model, loop.Step(rows, True, 0, 0, "cpu")


def run(model: Any, step: Any) -> None:
    """Forward and backward pass."""
    import loop

    loop.loss_of(model, step, {"supervised_only": True, "row_attention": True}).backward()
    model.zero_grad(set_to_none=True)


def shares_of(call: Callable[[], None]) -> dict[str, float]:
    """Share of each kind of work in the time that operations took themselves."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    times: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(name in event.key for name in names)), "elementwise")
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: each / total for kind, each in times.items()}


def linear_shapes(model: Any) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """(inputs, outputs) of every linear layer of the base, and of its output layer."""
    base = model.get_base_model()
    layers = [
        (layer.in_features, layer.out_features)
        for name, layer in base.model.named_modules()
        if isinstance(layer, torch.nn.Linear) and "lora_" not in name
    ]
    return layers, (base.lm_head.in_features, base.lm_head.out_features)


def product_seconds(num: int, inputs: int, outputs: int) -> float:
    """Seconds of a layer's two products, forward and by its input: the best of five."""
    weight, states, gradient = torch.randn(outputs, inputs), torch.randn(num, inputs), torch.randn(num, outputs)

    def both() -> None:
        torch.nn.functional.linear(states, weight)
        gradient @ weight

    both()
    return min(timed(both) for _ in range(5))


def timed(call: Callable[[], None]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
