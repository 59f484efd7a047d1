from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer
from tests.callbacks.toy_run import KillAfter, Killed, ToyData, ToyModule, toy_fit, toy_trainer

from grsap.callbacks import AdapterCheckpoint, MixtureMonitor, Provenance
from grsap.callbacks.provenance import file_hashes, hide_in_command, hide_secrets
from grsap.embedded import resolve
from grsap.files import hash_file
from grsap.runs.folder import RunFolder


class ReportingData(ToyData):
    def summary(self) -> dict[str, Any]:
        return {"fingerprint": "fedc", "replay_share": 0.25, "shortfalls": []}


def read(run_dir: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run_dir / "manifest.json").read_text())
    return manifest


def write_config(folder: Path, **values: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))


def test_what_the_manifest_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = tmp_path / "replay.jsonl"
    replay.write_text("{}\n")
    config = {
        "seed_everything": 7,
        "run_dir": str(tmp_path / "run"),
        "data": {"seed": 3, "replay": str(replay), "probes": ["embedded:quickstart/probes.jsonl"]},
        "trainer": {"logger": {"api_key": "abc"}},
    }
    write_config(tmp_path / "run", **config)
    monkeypatch.setattr(sys, "argv", ["grsap", "fit", "--trainer.logger.api_key", "abc", "--seed_everything=7"])
    during: dict[str, Any] = {}

    class Look(MixtureMonitor):
        def on_train_start(self, trainer: Trainer, *args: Any) -> None:
            during.update(read(Path(trainer.default_root_dir)))

    trainer = toy_trainer(tmp_path / "run", [Look(), Provenance(), AdapterCheckpoint(100)])
    trainer.fit(ToyModule(), datamodule=ReportingData())
    manifest = read(tmp_path / "run")
    assert (during["status"], during["ended"]) == ("running", None)
    assert (manifest["status"], manifest["num_steps"], manifest["replay_ratio_seen"]) == ("finished", 10, 0.25)
    assert manifest["config"]["data"] == config["data"]
    assert manifest["config"]["trainer"] == {"logger": {"api_key": "(hidden)"}}
    assert manifest["command"] == ["grsap", "fit", "--trainer.logger.api_key", "(hidden)", "--seed_everything=7"]
    assert manifest["seeds"] == {"seed_everything": 7, "data.seed": 3}
    assert manifest["files"] == {
        str(replay): hash_file(replay),
        "embedded:quickstart/probes.jsonl": hash_file(resolve("embedded:quickstart/probes.jsonl")),
    }
    assert manifest["data"] == {"fingerprint": "fedc", "replay_share": 0.25, "shortfalls": []}
    assert (manifest["base"], manifest["template_hash"]) == ({"path": "toy/base"}, "0123456789abcdef")
    assert manifest["versions"]["torch"] == importlib.metadata.version("torch")
    assert (manifest["python"], manifest["world_size"]) == (platform.python_version(), 1)
    assert manifest["adapter"] == {
        name: hash_file(tmp_path / "run" / "adapter" / name)
        for name in ("adapter_config.json", "adapter_model.safetensors")
    }
    assert len(manifest["starts"]) == 1


def test_a_resumed_run_lists_all_starts_and_an_unfinished_one_says_so(tmp_path: Path) -> None:
    write_config(tmp_path)
    with pytest.raises(Killed):
        toy_fit(tmp_path, [Provenance(), AdapterCheckpoint(3), KillAfter(5)])
    first = read(tmp_path)
    assert (first["status"], first["ended"], first["config"]) == ("running", None, {})
    toy_fit(tmp_path, [Provenance(), AdapterCheckpoint(3)], checkpoint=RunFolder(tmp_path).newest_checkpoint())
    manifest = read(tmp_path)
    assert manifest["starts"][:1] == first["starts"]
    assert (len(manifest["starts"]), manifest["status"]) == (2, "finished")


def test_adapter_folders_are_hashed_by_file(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
        (adapter / name).write_text(name)
    config = {
        "model": {"merge_adapter": str(adapter), "path": "someone/model", "name": "x" * 5000},
        "run_dir": str(adapter / "README.md"),
    }
    assert file_hashes(config) == {
        f"{adapter}/{name}": hash_file(adapter / name) for name in ("adapter_model.safetensors", "adapter_config.json")
    }


def test_secrets_are_left_out() -> None:
    config = {"hub_token": "abc", "max_new_tokens": 64, "logger": [{"API_KEY": "abc", "keys": ["a"]}], "key": None}
    assert hide_secrets(config) == {
        "hub_token": "(hidden)",
        "max_new_tokens": 64,
        "logger": [{"API_KEY": "(hidden)", "keys": ["a"]}],
        "key": None,
    }
    command = ["grsap", "fit", "--a.password=x", "--a.token", "y", "--max_tokens", "5", "token"]
    assert list(hide_in_command(command)) == [
        "grsap", "fit", "--a.password=(hidden)", "--a.token", "(hidden)", "--max_tokens", "5", "token"
    ]  # fmt: skip
