"""`grsap fit` in process, on the tiny model: files, precedence, trust, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
import yaml
from tests.commands.conftest import Run

from grsap.cli import main
from grsap.commands.local_modules import use_local_modules
from grsap.commands.settings import DEFAULT_CALLBACKS, LINKS, RunSettings
from grsap.commands.trust import restrict_imports
from grsap.runs.folder import RunFolder, seal_checkpoint
from grsap.training import SafetyFineTuning
from grsap.training.metrics_log import MetricsLog

MY_TASK = """
from grsap.data import ConversationDataModule


class EchoTask(ConversationDataModule):
    def __init__(self, num: int = 8):
        super().__init__()
        self.num = num

    def rows(self, split):
        count = self.num if split == "train" else 0
        return [{"messages": self.turns(str(n))} for n in range(count)]

    def turns(self, text):
        return [{"role": "user", "content": f"say {text}"}, {"role": "assistant", "content": text}]
"""


def settings_of(run: Run, *words: str) -> RunSettings:
    restrict_imports()
    return RunSettings("fit", ["--config", str(run.write()), *words])


def printed_config(run: Run, capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert run.fit(*words, "--print_config") == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_a_run_leaves_its_files(run: Run) -> None:
    assert run.fit() == 0
    names = {path.name for path in run.run_dir.iterdir() if not path.name.startswith(".")}
    assert {"config.yaml", "manifest.json", "metrics.csv", "adapter", "checkpoints", "summary.json"} <= names
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert (summary["status"], summary["num_steps"], summary["replay_ratio_seen"]) == ("finished", 2, 0.25)
    mixed = json.loads((run.run_dir / "manifest.json").read_text())["data"]
    assert (mixed["rows_per_epoch"], mixed["replay_rows_per_epoch"], mixed["steps_per_epoch"]) == (12, 3, 2)
    assert (run.run_dir / "adapter" / "adapter_model.safetensors").is_file()
    assert [path.name for path in RunFolder(run.run_dir).checkpoints()] == ["step=000002"]


def test_the_same_call_again_prints_the_summary_and_imports_no_torch(run: Run) -> None:
    assert run.fit() == 0
    command = [sys.executable, "-X", "importtime", "-m", "grsap", "fit", "--config", str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "grsap.runs.summary_table" in imported
    assert imported & {"torch", "lightning", "transformers"} == set()
    assert f"The run in {run.run_dir} is finished." in done.stderr
    assert str(run.run_dir / "adapter") in done.stdout


def test_another_spelling_of_the_same_run_prints_the_summary(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.fit() == 0
    monkeypatch.setattr("grsap.models.BaseModel.load", lambda *_, **__: pytest.fail("weights were loaded"))
    assert run.fit("--model.base.quantization=none") == 0
    assert run.fit("--resume") == 0


def test_a_run_killed_while_it_was_marked_finished_is_completed_by_the_next_call(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.fit() == 0
    names = sorted(path.name for path in run.run_dir.iterdir())
    (run.run_dir / ".invocation").rename(run.run_dir / "..invocation.8714.tmp")
    (run.run_dir / "adapter" / "README.md").unlink()
    monkeypatch.setattr("grsap.models.BaseModel.load", lambda *_, **__: pytest.fail("weights were loaded"))
    assert run.fit("--resume") == 0
    assert sorted(path.name for path in run.run_dir.iterdir()) == names
    assert (run.run_dir / "adapter" / "README.md").is_file()


def test_a_finished_run_of_other_inputs_is_refused_before_anything_is_written(
    run: Run, error_of: Callable[[], str]
) -> None:
    assert run.fit() == 0
    (run.run_dir / ".invocation").unlink()
    (name,) = (each for each in json.loads((run.run_dir / "manifest.json").read_text())["files"] if "task" in each)
    Path(name).write_text(Path(name).read_text() + "\n")
    before = {path: path.stat().st_mtime_ns for path in run.run_dir.rglob("*")}
    assert run.fit() == 2
    assert f"{name} changed since" in " ".join(error_of().split())
    assert {path: path.stat().st_mtime_ns for path in run.run_dir.rglob("*")} == before


def test_a_finished_run_with_other_settings_is_left_alone(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit() == 0
    assert run.fit("--data.batching.global_batch_size", "4") == 2
    assert "data.batching.global_batch_size: 8 -> 4" in error_of()


def test_the_saved_config_is_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.fit() == 0
    before = printed_config(run, capsys)
    assert yaml.safe_load((run.run_dir / "config.yaml").read_text()) == before
    run.config = before
    assert printed_config(run, capsys) == before


def test_later_configs_win_by_key_and_the_command_line_over_all(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    more = run.folder / "more.yaml"
    more.write_text("data: {batching: {global_batch_size: 4}, encoding: {max_length: 99}}\n")
    config = printed_config(run, capsys, "--config", str(more), "--data.encoding.max_length=77")
    assert config["data"]["batching"] == {"global_batch_size": 4, "max_tokens_per_micro_batch": 512, "packing": "auto"}
    assert config["data"]["encoding"]["max_length"] == 77
    assert config["data"]["task"]["class_path"] == "grsap.data.JSONLTask"


@pytest.mark.parametrize(
    ("source", "target", "value"),
    [
        ("run_dir", "trainer.default_root_dir", "elsewhere"),
        ("seed_everything", "data.seed", 7),
        ("seed_everything", "model.seed", 7),
        ("model.base.path", "data.base.path", "other/model"),
        ("model.base.revision", "data.base.revision", "abc"),
        ("model.base.chat_template_kwargs", "data.base.chat_template_kwargs", {"enable_thinking": False}),
    ],
)
def test_links_are_live(run: Run, source: str, target: str, value: object) -> None:
    settings = settings_of(run, f"--{source}={json.dumps(value) if isinstance(value, dict) else value}")
    assert settings.config[source] == value
    assert settings.config[target] == value


def test_all_links_arrive_in_the_objects(run: Run) -> None:
    settings = settings_of(run, "--seed_everything=5", "--model.base.gradient_checkpointing=true")
    assert settings.datamodule.base is settings.model.base, "so that its tokenizer is loaded once"
    assert settings.model.template is settings.datamodule.base.template
    assert settings.datamodule.base.gradient_checkpointing is True
    assert (settings.datamodule.seed, settings.model.seed) == (5, 5)
    assert settings.trainer.default_root_dir == str(run.run_dir)
    targets = {each for each in LINKS if each.startswith("data.base.")}
    assert targets == {f"data.base.{name}" for name in asdict(settings.model.base)}


def test_a_linked_setting_cannot_be_given(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit("--data.seed=3") == 2
    run.config["data"]["base"] = {"path": "x"}
    assert run.fit() == 2
    assert (
        "data.base.path is copied from model.base.path. Set model.base.path, and leave data.base.path out."
        in error_of()
    )


def test_default_callbacks_are_added_once(run: Run) -> None:
    run.config["trainer"]["callbacks"] = [{"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 1}}]
    callbacks = settings_of(run).trainer.callbacks
    for kind in DEFAULT_CALLBACKS:
        assert sum(isinstance(each, kind) for each in callbacks) == 1, kind
    (checkpoint,) = (each for each in callbacks if type(each).__name__ == "AdapterCheckpoint")
    assert checkpoint.every_n_steps == 1


def test_trainer_defaults(run: Run) -> None:
    trainer = settings_of(run).trainer
    assert (trainer.max_epochs, trainer.num_sanity_val_steps, trainer.world_size) == (1, 0, 1)
    assert trainer._accelerator_connector.use_distributed_sampler is False
    assert [(type(each), each.save_dir) for each in trainer.loggers] == [(MetricsLog, str(run.run_dir))]
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(run.folder)}}
    run.config["trainer"]["logger"] = logger
    assert [type(each).__name__ for each in settings_of(run).trainer.loggers] == ["CSVLogger", "MetricsLog"]
    run.config["trainer"]["logger"] = False
    assert settings_of(run).trainer.loggers == []


def test_no_optimizer_is_made_before_the_model(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit("--optimizer=AdamW") == 2
    assert "--optimizer is not an option of grsap fit" in error_of()


def test_both_spellings_of_flags(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("grsap.commands.dry_run.dry_run", lambda settings: calls.append(settings.run_dir) or 0)
    assert run.fit("--dry-run", "--run-dir", "a") == 0
    assert run.fit("--dry_run", "--run_dir=b") == 0
    assert calls == [Path("a"), Path("b")]


def test_resume_is_a_flag_of_fit_only(run: Run, error_of: Callable[[], str]) -> None:
    assert main(["test", "--config", str(run.write()), "--resume"]) == 2
    assert error_of() == "error: --resume is a flag of grsap fit, not of grsap test. Leave it out."


def test_a_class_from_the_working_directory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "echo_task_in_cwd.py").write_text(MY_TASK)
    monkeypatch.chdir(run.folder)
    run.config["data"]["task"] = {"class_path": "echo_task_in_cwd.EchoTask", "init_args": {"num": 16}}
    assert run.fit() == 0
    assert json.loads((run.run_dir / "summary.json").read_text())["num_steps"] == 2


def test_modules_elsewhere_need_trust(run: Run, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]) -> None:
    installed = run.folder / "installed"
    installed.mkdir()
    (installed / "echo_task_installed.py").write_text(MY_TASK)
    monkeypatch.syspath_prepend(str(installed))
    run.config["data"]["task"] = {"class_path": "echo_task_installed.EchoTask"}
    assert run.fit("--print_config") == 2
    assert "add --trust-module echo_task_installed if you trust it" in error_of()
    assert "echo_task_installed" not in sys.modules
    assert run.fit("--print_config", "--trust-module", "echo_task_installed") == 0


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.exec", "grsap.files.shutil.rmtree", "jsonargparse.set_parsing_settings"]
)
def test_dangerous_names_are_refused(run: Run, name: str, error_of: Callable[[], str]) -> None:
    run.config["model"]["optimizer"] = {"class_path": name}
    assert run.fit("--print_config") == 2
    assert "settings may not name" in error_of()


def test_local_modules_are_those_of_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine_only_here.py", "yaml.py", "json.py", "not-a-name.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "package_only_here").mkdir()
    (tmp_path / "package_only_here" / "__init__.py").write_text("")
    site = tmp_path / ".venv" / "lib"
    site.mkdir(parents=True)
    (site / "installed_below.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    assert use_local_modules(tmp_path) == ["mine_only_here", "package_only_here"]


def test_an_unknown_trusted_module(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit("--trust-module", "no_such_module") == 2
    assert error_of().startswith("error: --trust-module no_such_module: no such module.")


@pytest.mark.parametrize("address", ["https://localhost/run.yaml", "memory://run.yaml"])
def test_configs_are_read_from_files_only(address: str, error_of: Callable[[], str]) -> None:
    assert main(["fit", "--config", address]) == 2
    assert f"--config {address} is a URL." in error_of()


def test_parts_of_configs_are_read_from_files_only(run: Run) -> None:
    fsspec.filesystem("memory").pipe("/step.yaml", b"max_grad_norm: 5\n")
    (run.folder / "step.yaml").write_text("max_grad_norm: 5\n")
    assert settings_of(run, "--model.step", str(run.folder / "step.yaml")).model.step_settings.max_grad_norm == 5
    assert run.fit("--model.step", "memory://step.yaml", "--print_config") == 2


def unfinished(run: Run) -> Path:
    """Do two steps, and make the folder look as if the run had been killed after them."""
    assert run.fit("--trainer.max_steps=2", "--trainer.max_epochs=2") == 0
    for name in ("summary.json", ".invocation"):
        (run.run_dir / name).unlink()
    (checkpoint,) = RunFolder(run.run_dir).checkpoints()
    return checkpoint


def test_resume_goes_on_with_the_present_settings(run: Run, error_of: Callable[[], str]) -> None:
    unfinished(run)
    assert run.fit("--trainer.max_epochs=2") == 2
    assert "holds an unfinished run. Add --resume" in error_of()
    assert run.fit("--trainer.max_epochs=2", "--resume") == 0
    told = error_of()
    assert "trainer.max_steps: 2 -> -1" in told
    assert "Resuming from" in told
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert summary["num_steps"] == 4
    steps = {int(line.split(",")[0]) for line in (run.run_dir / "metrics.csv").read_text().splitlines()[1:]}
    assert steps == {1, 2, 3, 4}


def test_resume_trains_with_the_present_learning_rate(run: Run) -> None:
    run.config["model"]["schedule"] = {"class_path": "CosineWithFloor", "init_args": {"warmup_ratio": 0.99}}
    unfinished(run)
    run.config["model"]["optimizer"]["init_args"] |= {"lr": 1.0e-4, "weight_decay": 0.25}
    assert run.fit("--trainer.max_epochs=2", "--resume") == 0
    rows = [line.split(",") for line in (run.run_dir / "metrics.csv").read_text().splitlines()]
    rates = [float(value) for _, key, value in rows if key == "train/learning_rate"]
    # Two steps of a warm-up of two to 1e-3, then the third and fourth of a warm-up of four to 1e-4.
    assert rates == pytest.approx([0.5e-3, 1.0e-3, 0.75e-4, 1.0e-4])
    state = torch.load(RunFolder(run.run_dir).checkpoints()[-1] / "trainer.ckpt", weights_only=True)
    (group,) = state["optimizer_states"][0]["param_groups"]
    assert (group["initial_lr"], group["weight_decay"]) == (1.0e-4, 0.25)


def test_a_run_that_is_stopped_makes_the_validation_that_is_due(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no call would: what is resumed begins with the next step."""
    step = SafetyFineTuning.training_step

    def signalled(self: SafetyFineTuning, *batch: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        step(self, *batch)

    run.config["data"]["task"]["init_args"] |= {"validation_path": str(run.folder / "task.jsonl")}
    with monkeypatch.context() as patch:
        patch.setattr(SafetyFineTuning, "training_step", signalled)
        assert run.fit("--trainer.val_check_interval=1") == 143
    assert run.fit("--trainer.val_check_interval=1", "--resume") == 0
    rows = [line.split(",") for line in (run.run_dir / "metrics.csv").read_text().splitlines()]
    assert [step for step, key, _ in rows if key == "validation/loss"] == ["1", "2"]


def test_a_start_that_lightning_refuses_takes_nothing(run: Run, error_of: Callable[[], str]) -> None:
    run.config["trainer"]["callbacks"] = [{"class_path": "HarmfulnessCheck", "init_args": {"probes": "no.jsonl"}}]
    assert run.fit() == 2
    assert "no.jsonl: no such file" in error_of()
    del run.config["trainer"]["callbacks"]
    assert run.fit("--trainer.gradient_clip_val=1") == 2
    assert "trainer.gradient_clip_val is set. Set model.step.max_grad_norm instead." in error_of()
    assert run.fit() == 0


def test_a_checkpoint_neither_imports_nor_overrides(run: Run) -> None:
    checkpoint = unfinished(run)
    state = torch.load(checkpoint / "trainer.ckpt", weights_only=True)
    state["hyper_parameters"] = {
        "_class_path": "this.Bad",
        "_instantiator": "this.bad",
        "base": {"path": "no/such/model"},
    }
    torch.save(state, checkpoint / "trainer.ckpt")
    seal_checkpoint(checkpoint, 2)
    sys.modules.pop("this", None)
    assert run.fit("--trainer.max_epochs=2", "--resume") == 0
    assert "this" not in sys.modules


def test_a_task_keeps_its_own_hyperparameters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "saving_task_in_cwd.py").write_text(
        MY_TASK.replace("self.num = num", "self.num = num\n        self.save_hyperparameters()")
    )
    monkeypatch.chdir(run.folder)
    run.config["data"]["task"] = {"class_path": "saving_task_in_cwd.EchoTask", "init_args": {"num": 3}}
    assert dict(settings_of(run).datamodule.task.hparams) == {"num": 3}
