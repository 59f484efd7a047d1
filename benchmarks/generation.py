"""How fast generation is, measured in turn in one run.

`local`: `TransformersGenerator` against transformers' own `generate` in batches of 16 in arrival order: same weights,
dtype, prompts, limit and stop tokens. In the environment of `make test-vllm`: `engine` is `VLLMGenerator` against
`vllm.LLM.generate` on the same engine, and `server` is `OpenAIGenerator` against the bare client of the package openai,
on the same server of vLLM.

    python benchmarks/generation.py local --out benchmarks/results/generation_local
    .venv-vllm/bin/python benchmarks/generation.py engine --out benchmarks/results/generation_engine
    .venv-vllm/bin/python benchmarks/generation.py server --out benchmarks/results/generation_server

Each alternation runs one after the other, the order changing, and gives one ratio; the median and the range are printed
and written to OUT.json and OUT.md. Speed is generated tokens a second, stop tokens left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable

import torch
from vllm_sides import dtype_of, engine_sides, server_sides

from grsap.embedded import resolve
from grsap.files import write_atomic, write_json
from grsap.generation import GenerationRequest, SamplingSettings, TransformersGenerator
from grsap.models import BaseModel
from grsap.models.embedded_model import embedded_folder

MODEL = "embedded:smollm2-135m-instruct"
FIXED_BATCH = 16
LONG_SHARE = 0.15
"""Share of prompts that carry a long text: 2 to 12 probes one after the other."""

Side = Callable[[], int]
"""Runs once; the number of tokens that it generated."""


def make_requests(base: BaseModel, num: int) -> list[GenerationRequest]:
    """Probes in a fixed shuffled order, some of them long."""
    template = base.template
    rows = [json.loads(line) for line in resolve("embedded:quickstart/probes.jsonl").read_text().splitlines()]
    texts = [row["messages"][0]["content"] for row in rows]
    order = random.Random(0)
    order.shuffle(texts)
    requests = []
    for number in range(num):
        many = order.randint(2, 12) if order.random() < LONG_SHARE else 1
        content = " ".join(texts[(number + each) % len(texts)] for each in range(many))
        ids = template.prompt_ids([{"role": "user", "content": content}])
        requests.append(GenerationRequest(str(number), tuple(ids), seed=number))
    return requests


def ours(base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings) -> Side:
    generator = TransformersGenerator(base, device="cpu")
    return lambda: sum(len(answer.token_ids) for answer in generator.generate(requests, settings))


def fixed_batches(base: BaseModel, requests: list[GenerationRequest], settings: SamplingSettings) -> Side:
    """What a plain script does: `generate` on 16 prompts at a time, padded on the left, as they come."""
    model = base.load(torch.device("cpu")).eval()
    template = base.template
    stop = sorted(template.stop_token_ids)

    def run() -> int:
        num = 0
        for start in range(0, len(requests), FIXED_BATCH):
            prompts = [list(request.prompt_ids) for request in requests[start : start + FIXED_BATCH]]
            width = max(map(len, prompts))
            ids = torch.tensor([[template.pad_token_id] * (width - len(each)) + each for each in prompts])
            mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in prompts])
            with torch.no_grad():
                out = model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=settings.max_new_tokens,
                    do_sample=False,
                    eos_token_id=stop,
                    pad_token_id=template.pad_token_id,
                )
            for row in out[:, width:].tolist():
                num += next((place for place, token in enumerate(row) if token in stop), len(row))
        return num

    return run


def measure(sides: dict[str, Side], num_alternations: int) -> dict[str, list[dict[str, float]]]:
    """Run the sides in turn, after one run of each that does not count."""
    for side in sides.values():
        side()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for turn in range(num_alternations):
        names = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in names:
            load = os.getloadavg()[0]
            start = time.perf_counter()
            num = sides[name]()
            seconds = time.perf_counter() - start
            runs[name].append({"tokens": num, "seconds": seconds, "tokens_per_s": num / seconds, "load_before": load})
            print(f"  {turn} {name}: {num} tokens in {seconds:.1f} s = {num / seconds:.0f} tok/s (load {load:.1f})")
    return runs


def report(args: argparse.Namespace, runs: dict[str, list[dict[str, float]]], note: dict[str, object]) -> None:
    first, second = runs
    ratios = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(runs[first], runs[second], strict=True)]
    result = {
        "command": "python benchmarks/generation.py " + " ".join(sys.argv[1:]),
        "what": f"{first} / {second}",
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios), "all": ratios},
        "runs": runs,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        **note,
    }
    lines = [
        f"# {first} against {second}",
        "",
        f"`{result['command']}`",
        "",
        "| | tok/s, median | range |",
        "|---|---|---|",
    ]
    for name, each in runs.items():
        speeds = [run["tokens_per_s"] for run in each]
        lines.append(f"| {name} | {statistics.median(speeds):.0f} | {min(speeds):.0f} to {max(speeds):.0f} |")
    lines += [
        "",
        f"Ratio: median **{statistics.median(ratios):.2f}**, {min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} "
        "alternations.",
        "",
        *(f"- {name}: {value}" for name, value in note.items()),
        f"- load average before the runs: {min(r['load_before'] for n in runs for r in runs[n]):.1f} to "
        f"{max(r['load_before'] for n in runs for r in runs[n]):.1f} on {os.cpu_count()} cores",
    ]
    print("\n".join(lines))
    if args.out:
        write_json(f"{args.out}.json", result)
        write_atomic(f"{args.out}.md", "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["local", "engine", "server"])
    parser.add_argument("--num-prompts", type=int, default=96)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--dtype", default="auto", choices=["auto", "bfloat16", "float32"], help="auto: by the processor"
    )
    parser.add_argument("--out", help="path without extension")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    base = BaseModel(str(embedded_folder(MODEL)), quantization="none", compute_dtype=args.dtype)
    requests = make_requests(base, args.num_prompts)
    settings = SamplingSettings(args.max_new_tokens)
    lengths = sorted(len(request.prompt_ids) for request in requests)
    note: dict[str, object] = {
        "model": MODEL,
        "dtype": dtype_of(base),
        "prompts": len(requests),
        "prompt_tokens": f"median {lengths[len(lengths) // 2]}, longest {lengths[-1]}",
        "max_new_tokens": settings.max_new_tokens,
    }
    if args.what == "local":
        sides = {
            "TransformersGenerator": ours(base, requests, settings),
            f"generate, batch {FIXED_BATCH}": fixed_batches(base, requests, settings),
        }
        report(args, measure(sides, args.alternations), note)
    else:
        with (engine_sides if args.what == "engine" else server_sides)(base, requests, settings) as sides:
            report(args, measure(sides, args.alternations), note)


if __name__ == "__main__":
    main()
