"""A small run of `grsap fit`, and what of its folder must be the same however often it was killed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from tests.faults.cases import Case, json_without, safety_row, turns, write_config, write_rows


def prepare_fit(folder: Path, base: Path) -> None:
    """Two epochs of three steps, a check at the start, in the middle and at the end, a checkpoint after each step."""
    task = [
        {"id": f"t{n}", "messages": turns(f"How many are {n} and two?", f"It is {n + 2}, not {'a' * (n % 9)}.")}
        for n in range(9)
    ]
    write_rows(folder / "task.jsonl", task)
    write_rows(folder / "test.jsonl", task[:3])
    write_rows(folder / "replay.jsonl", [safety_row(n) for n in range(1, 5)])
    probes = [
        {"id": f"{subset}{n}", "messages": turns(f"{subset} {n}?", "")[:1], "domain": "theft", "subset": subset}
        | {"pair_id": None if subset == "ordinary" else str(n)}
        for subset in ("harmful", "twin", "ordinary")
        for n in range(2)
    ]
    write_rows(folder / "probes.jsonl", probes)
    check = {"probes": "probes.jsonl", "judge": "RefusalMatcher", "sampling": {"max_new_tokens": 4}, "every_n_steps": 4}
    write_config(
        folder,
        {
            "seed_everything": 5,
            "model": {
                "base": {"path": str(base), "quantization": "none", "compute_dtype": "float32"},
                "lora": {"r": 2, "lora_dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            },
            "data": {
                "task": {
                    "class_path": "JSONLTask",
                    "init_args": {"train_path": "task.jsonl", "test_path": "test.jsonl"},
                },
                "replay": {"path": "replay.jsonl"},
                "sampler": {"class_path": "RatioSampler", "init_args": {"replay_ratio": 0.25}},
                "batching": {"global_batch_size": 4, "max_tokens_per_micro_batch": 160},
                "encoding": {"max_length": 160},
            },
            "trainer": {
                "accelerator": "cpu",
                "max_epochs": 2,
                "callbacks": [
                    {"class_path": "HarmfulnessCheck", "init_args": check},
                    {"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 1}},
                ],
            },
        },
    )


def metrics(path: Path) -> list[list[str]]:
    """Lines of `metrics.csv` but those of speed."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row[1] != "train/tokens_per_second"]


def trainer_state(path: Path) -> Any:
    """Weights and optimizer of a checkpoint, as bytes; the rest of it holds times."""
    state = torch.load(path, weights_only=True)
    return [_bytes_of(state[key]) for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")]


def _bytes_of(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: _bytes_of(child) for key, child in value.items()}
    return [_bytes_of(child) for child in value] if isinstance(value, list | tuple) else value


def card(path: Path) -> list[str]:
    """Lines of the model card but those of the time that the run took, and of the card's own hash."""
    times = (" tokens, ", "<!-- written by grsap")
    return [line for line in path.read_text().splitlines() if not any(part in line for part in times)]


def prepare_fit_on_two_ranks(folder: Path, base: Path) -> None:
    """The same on two devices."""
    prepare_fit(folder, base)
    config = yaml.safe_load((folder / "run.yaml").read_text())
    config["trainer"] |= {"devices": 2, "strategy": "ddp"}
    write_config(folder, config)


VIEWS = {
    "metrics.csv": metrics,
    "summary.json": json_without("seconds", "tokens_per_second", "peak_memory_bytes"),
    "manifest.json": json_without("starts", "ended"),
    "adapter/README.md": card,
    "checkpoints/*/trainer.ckpt": trainer_state,
    "checkpoints/*/state.json": None,  # hashes of the others
    ".invocation": None,  # lets the same call on a finished run answer at once; written last
}
FIT = Case("fit", prepare_fit, VIEWS, output="--run_dir", again=("--resume",))
FIT_ON_TWO_RANKS = replace(FIT, prepare=prepare_fit_on_two_ranks)
