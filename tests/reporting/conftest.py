"""Two real runs of the tiny model: checked at each step, with probes whose prompts are hostile texts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.commands.conftest import replay_rows, task_rows, write_rows
from tests.pages.hostile import HOSTILE

from grsap.cli import main

NUM_TWINS = 5


@dataclass(frozen=True)
class Runs:
    """Folders of a run with replay and of one without."""

    replay: Path
    plain: Path

    @property
    def both(self) -> list[str]:
        return [str(self.replay), str(self.plain)]


def probe_rows() -> list[dict[str, Any]]:
    """A harmful prompt a hostile text, and some twins of them."""
    texts = [("harmful", number, text) for number, text in enumerate(HOSTILE)]
    texts += [("twin", number, f"harmless {number}") for number in range(NUM_TWINS)]
    return [
        {
            "id": f"{subset}-{number}",
            "messages": [{"role": "user", "content": text}],
            "domain": "theft",
            "subset": subset,
            "pair_id": f"p{number}",
        }
        for subset, number, text in texts
    ]


def run_config(folder: Path, base: Path, name: str, replay_ratio: float) -> dict[str, Any]:
    checks = {"every_n_steps": 1, "sampling": {"max_new_tokens": 6}}
    return {
        "run_dir": str(folder / name),
        "model": {
            "base": {"path": str(base), "quantization": "none", "compute_dtype": "float32"},
            "lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.0e-3}},
        },
        "data": {
            "task": {
                "class_path": "JSONLTask",
                "init_args": {
                    "train_path": str(folder / "task.jsonl"),
                    "test_path": str(folder / "task.jsonl"),
                    "exact_match": True,
                },
            },
            "replay": {"path": str(folder / "replay.jsonl")},
            "sampler": {"class_path": "RatioSampler", "init_args": {"replay_ratio": replay_ratio}},
            "batching": {"global_batch_size": 4, "max_tokens_per_micro_batch": 512},
            "encoding": {"max_length": 256},
        },
        "trainer": {
            "accelerator": "cpu",
            "callbacks": [
                {
                    "class_path": "HarmfulnessCheck",
                    "init_args": {"probes": str(folder / "probes.jsonl"), "judge": "RefusalMatcher", **checks},
                },
                {"class_path": "TaskScoreCheck", "init_args": checks},
                {"class_path": "RunSummary", "init_args": {"margin": 0.07}},
            ],
        },
    }


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_base_path: Path) -> Runs:
    """Made once; tests that change a run copy it."""
    folder = tmp_path_factory.mktemp("runs")
    write_rows(folder / "task.jsonl", task_rows())
    write_rows(folder / "replay.jsonl", replay_rows())
    write_rows(folder / "probes.jsonl", probe_rows())
    for name, ratio in (("replay", 0.25), ("plain", 0.0)):
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(run_config(folder, tiny_base_path, name, ratio)))
        assert main(["fit", "--config", str(config)]) == 0
    return Runs(folder / "replay", folder / "plain")


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
