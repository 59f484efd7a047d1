"""A whole small run, through the command line, as a user would start it."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.records import SafetyRecord, write_jsonl

CALLBACKS = '''
import os
import signal

from lightning.pytorch.callbacks import Callback


class Recorder(Callback):
    """Notes the rows of each step, and dies or asks to stop when told to."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.is_global_zero:
            with open("rows.txt", "a") as file:
                loss = float(trainer.callback_metrics["train/loss"])
                file.write(f"{batch.step} {len(batch.micro_batches)} {' '.join(batch.row_ids)} {loss:.9f}\\n")
        for number in (signal.SIGKILL, signal.SIGTERM):
            if os.environ.get(f"{number.name}_AFTER_STEP") == str(batch.step):
                os.kill(os.getpid(), number)
'''


@dataclass
class Workplace:
    """A working directory with a config, data and callbacks of its own."""

    folder: Path
    config: dict[str, Any]

    def run(self, *words: str, config: dict[str, Any] | None = None, **signals: int) -> int:
        """`grsap fit` in a process of its own; returns its exit code, or minus the signal that ended it.

        `SIGKILL=3` sends it that signal when step 3 (from 0) is done.
        """
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config or self.config))
        child = os.fork()
        if child == 0:
            self._become_grsap(["fit", "--config", "run.yaml", *words], signals)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def _become_grsap(self, words: list[str], signals: dict[str, int]) -> None:
        code = 99
        try:
            os.chdir(self.folder)
            sys.path.insert(0, str(self.folder))
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ.update({f"{name}_AFTER_STEP": str(step) for name, step in signals.items()})
            from grsap.cli import main

            code = main(words)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 98
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def rows(self) -> dict[int, tuple[tuple[str, ...], float]]:
        """Step -> (row ids in order, loss), as last seen."""
        seen = {}
        for line in (self.folder / "rows.txt").read_text().splitlines():
            step, _, *ids, loss = line.split()
            seen[int(step)] = (tuple(ids), float(loss))
        return seen

    def num_micro_batches(self) -> list[int]:
        """Of the first device, one a step seen."""
        return [int(line.split()[1]) for line in (self.folder / "rows.txt").read_text().splitlines()]

    def summary(self) -> dict[str, Any]:
        """The run's summary.json."""
        return json.loads((self.run_dir / "summary.json").read_text())  # type: ignore[no-any-return]


def config_of(base: Path) -> dict[str, Any]:
    """A run of 12 steps with dropout, NF4 and several micro-batches a step."""
    return {
        "run_dir": "run",
        "seed_everything": 5,
        "model": {
            "base": {"path": str(base), "quantization": "nf4", "compute_dtype": "float32"},
            "lora": {"r": 4, "lora_dropout": 0.3, "target_modules": "all-linear"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
        },
        "data": {
            "task": {"class_path": "JSONLTask", "init_args": {"train_path": "task.jsonl", "test_path": "test.jsonl"}},
            "replay": {"path": "replay.jsonl"},
            "sampler": {"class_path": "RatioSampler", "init_args": {"replay_ratio": 0.25}},
            "batching": {"global_batch_size": 8, "max_tokens_per_micro_batch": 160},
            "encoding": {"max_length": 160},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "callbacks": [
                {
                    "class_path": "HarmfulnessCheck",
                    "init_args": {
                        "probes": "probes.jsonl",
                        "judge": "RefusalMatcher",
                        "sampling": {"max_new_tokens": 4},
                    },
                },
                {"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 2}},
                {"class_path": "my_callbacks.Recorder"},
            ],
        },
    }


def write_inputs(folder: Path) -> None:
    """Task, replay and probe files."""

    def turns(request: str, response: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": request}, {"role": "assistant", "content": response}]

    task = [
        {
            "id": f"t{number}",
            "messages": turns(f"How many are {number} and two?", f"It is {number + 2}, not {'a' * (number % 9)}."),
        }
        for number in range(48)
    ]
    write_jsonl(folder / "task.jsonl", task)
    write_jsonl(folder / "test.jsonl", task[:6])
    replay = [
        SafetyRecord(f"r{number}", turns(f"Unsafe {number}?", "I cannot help."), "theft")  # type: ignore[arg-type]
        for number in range(7)
    ]
    write_jsonl(folder / "replay.jsonl", [record.to_dict() for record in replay])
    probes = [
        {"id": f"{subset}{number}", "messages": turns(f"{subset} {number}?", "")[:1], "domain": "theft",
         "subset": subset,
         "pair_id": None if subset == "ordinary" else str(number)}
        for subset in ("harmful", "twin", "ordinary") for number in range(2)
    ]  # fmt: skip
    write_jsonl(folder / "probes.jsonl", probes)


@pytest.fixture
def workplace(tmp_path: Path, tiny_base_path: Path) -> Iterator[Callable[[str], Workplace]]:
    """Makes a working directory by name."""

    def make(name: str) -> Workplace:
        folder = tmp_path / name
        folder.mkdir()
        write_inputs(folder)
        (folder / "my_callbacks.py").write_text(CALLBACKS)
        return Workplace(folder, config_of(tiny_base_path))

    return make
