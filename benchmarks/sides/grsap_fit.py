"""A side: `grsap fit` with a config, as a user runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from record import Record


def config_of(job: dict[str, Any]) -> dict[str, Any]:
    """The config of a job; the side's own `config` goes over it."""
    folder = Path(job["folder"])
    num_rows, num_replay = job["num_rows"], job["num_replay_rows"]
    config = {
        "run_dir": str(folder / "run"),
        "model": {
            "base": {
                "path": job["model"],
                "quantization": "none",
                "compute_dtype": job["dtype"],
                "chat_template": job["chat_template"],
            },
            "lora": {
                "r": job["lora_r"],
                "lora_alpha": 2 * job["lora_r"],
                "lora_dropout": 0.0,
                "target_modules": "all-linear",
            },
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": job["lr"], "weight_decay": 0.0}},
            "schedule": {"class_path": "grsap.training.schedules.ConstantRate"},
        },
        "data": {
            "task": {"class_path": "grsap.data.JSONLTask", "init_args": {"train_path": str(folder / "task.jsonl")}},
            "replay": {"path": str(folder / "replay.jsonl")} if num_replay else None,
            "sampler": {
                "class_path": "step_clock.FileOrder",
                "init_args": {"replay_ratio": num_replay / num_rows, "control": "total", "num_rows": num_rows},
            },
            "batching": {
                "global_batch_size": job["rows_per_step"],
                "max_tokens_per_micro_batch": job["max_tokens_per_micro_batch"],
            },
            "encoding": {"max_length": job["max_length"]},
        },
        "trainer": {
            "max_epochs": 1,
            "accelerator": job["accelerator"],
            "callbacks": [{"class_path": "step_clock.StepClock"}],
        },
    }
    return merged(config, job["config"])


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on `base`, mapping by mapping; callbacks are added."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict) and "class_path" not in value:
            result[key] = merged(result[key], value)
        else:
            result[key] = [*result[key], *value] if key == "callbacks" else value
    return result


def main() -> int:
    record = Record.from_command_line()
    import grsap.commands.settings  # what `grsap fit` imports
    import grsap.training
    from grsap.cli import main as grsap

    record.imports_done()
    import step_clock
    import yaml

    step_clock.StepClock.record = record
    path = Path(record.job["folder"]) / "fit.yaml"
    path.write_text(yaml.safe_dump(config_of(record.job)), encoding="utf-8")
    code = grsap(["fit", "--config", str(path), "--trust-module", "step_clock"])
    if code == 0:
        record.write(**step_clock.StepClock.finished)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
