"""A whole small run, through the command line, as a user would start it."""

from __future__ import annotations

import copy
import importlib
import json
import os
import shutil
import signal
import socket
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
            with open("places.txt", "a") as file:
                file.write(f"{batch.step} {trainer.current_epoch} {batch_idx}\\n")
        for number in (signal.SIGKILL, signal.SIGTERM):
            if os.environ.get(f"{number.name}_AFTER_STEP") == str(batch.step):
                os.kill(os.getpid(), number)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        # It may reach one rank only.
        if os.environ.get("SIGTERM_BEFORE_STEP") == str(batch.step) and trainer.global_rank == trainer.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
'''

IMPORTED = ("lightning.pytorch.cli", "peft", "transformers.models.llama.modeling_llama", "grsap.commands.settings")
"""What a run imports; a process that has imported it already forks runs that start at once."""


@dataclass
class Workplace:
    """A working directory with a config, data and callbacks of its own."""

    folder: Path
    config: dict[str, Any]

    def run(self, *words: str, config: dict[str, Any] | None = None, ranks: int = 1, **signals: int) -> int:
        """`grsap fit` in a process of its own for each rank; returns the exit code of the first, or minus its signal.

        `SIGKILL_AFTER=3` sends it that signal when step 3 (from 0) is done, `SIGTERM_BEFORE=3` (to the last rank) when
        that step begins. Several ranks are started as by torchrun.
        """
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config or self.config))
        for name in IMPORTED:
            importlib.import_module(name)
        environment = {f"{name}_STEP": str(step) for name, step in signals.items()}
        if ranks > 1:
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
            environment |= {"LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        children = []
        for rank in range(ranks):
            child = os.fork()
            if child == 0:
                rank_of = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
                self._become_grsap(["fit", "--config", "run.yaml", *words], environment | rank_of)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return codes[0]

    def _become_grsap(self, words: list[str], environment: dict[str, str]) -> None:
        code = 99
        try:
            os.chdir(self.folder)
            sys.path.insert(0, str(self.folder))
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ.update(environment)
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

    def steps(self) -> list[tuple[int, int, int]]:
        """(step, epoch, batch of the epoch) of each step done, in the order in which it was done."""
        lines = (self.folder / "places.txt").read_text().splitlines()
        return [tuple(map(int, line.split())) for line in lines]  # type: ignore[misc]

    def copy(self, name: str) -> Workplace:
        """Another working directory beside this one, with all that is in it."""
        return Workplace(shutil.copytree(self.folder, self.folder.with_name(name)), copy.deepcopy(self.config))

    def cleared(self) -> Workplace:
        """This working directory without what a run left in it."""
        shutil.rmtree(self.run_dir)
        for name in ("rows.txt", "places.txt", "log.txt"):
            (self.folder / name).unlink()
        return self

    def summary(self) -> dict[str, Any]:
        """The run's summary.json."""
        return json.loads((self.run_dir / "summary.json").read_text())  # type: ignore[no-any-return]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
    return port


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
