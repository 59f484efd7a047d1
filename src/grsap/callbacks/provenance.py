"""Where a result comes from: settings, versions, data, code and machine, in `manifest.json`."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from grsap.callbacks.lookup import call_first, find_callback
from grsap.callbacks.mixture_monitor import MixtureMonitor
from grsap.console import say
from grsap.embedded import resolve
from grsap.errors import DataError
from grsap.files import hash_file, write_json
from grsap.json_text import read_object
from grsap.models import BaseModel
from grsap.models.weight_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from grsap.repository import git_state
from grsap.runs.folder import MANIFEST_SCHEMA, RunFolder
from grsap.versions import installed_versions
from grsap.yaml_text import load_yaml, read_yaml

PACKAGES = (
    "grsap",
    "torch",
    "lightning",
    "transformers",
    "peft",
    "bitsandbytes",
    "tokenizers",
    "datasets",
    "jsonargparse",
    "torchmetrics",
    "numpy",
    "scipy",
)
HIDDEN = "(hidden)"
_SECRET = re.compile(r"(^|[._-])(token|api_?key|key|secret|password|passwd|credentials?)$", re.IGNORECASE)


class Provenance(Callback):
    """Writes `config.yaml` and `manifest.json` when training begins, and completes the manifest when fit has ended.

    Both are written when data, weights and checkpoint have been accepted, before any other callback sees the beginning
    of training: a start or resume that is refused leaves the folder as it was. When a finished run is extended, the
    results of its earlier end are set aside.

    It holds the resolved settings, versions, python and platform, seeds, hashes of the files and adapters that the
    settings name, git commit and whether the tree was dirty, what the base model is, the hash of the chat template,
    what became of the rows, the schedule with the share of replay planned and seen, the number of devices and the
    command line. Values of settings and options whose names end in token, key, secret or password are left out.

    A resumed run writes it anew and lists the times of all starts.

    Attributes:
        config: the resolved settings as YAML; None if `config.yaml` is there already.
        opening: lines to tell once the other callbacks have accepted their settings, before the weights load.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config: str | None = None
        self.opening: list[str] = []
        self._manifest: dict[str, Any] = {}
        self._has_begun = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Collect what is known before the weights load; the data is set up by now."""
        if stage != "fit":
            return
        call_first(trainer, self)
        self._has_begun = False
        if not trainer.is_global_zero:
            return
        for line in self.opening:
            say(line)
        folder = RunFolder(trainer.default_root_dir)
        config = _read_config(folder.config) if self.config is None else load_yaml(self.config)
        self._manifest = {
            "schema": MANIFEST_SCHEMA,
            "status": "running",
            "starts": [*_earlier_starts(folder.manifest), _now()],
            "ended": None,
            "command": list(hide_in_command(sys.argv)),
            "config": hide_secrets(config),
            "seeds": {key: value for key, value in leaves(config) if key.split(".")[-1] in ("seed", "seed_everything")},
            "versions": versions(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "devices": [device_name(trainer.strategy.root_device)],
            "world_size": trainer.world_size,
            "git": git_state(Path.cwd()),
            "files": file_hashes(config),
            "data": _data_summary(getattr(trainer, "datamodule", None)),
            **model_facts(pl_module),
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write config and manifest."""
        self._begin(trainer)

    def _begin(self, trainer: Trainer) -> None:
        if self._has_begun or not trainer.is_global_zero:
            return
        self._has_begun = True
        folder = RunFolder(trainer.default_root_dir)
        place = folder.begin(self.config)
        if place is not None:
            say(f"What the run had left before is in {place}.")
        write_json(folder.manifest, _json(self._manifest))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what is known at the end."""
        if not trainer.is_global_zero:
            return
        self._begin(trainer)  # Lightning does not call `on_train_start` for a run that has no step left
        monitor = find_callback(trainer, MixtureMonitor)
        self._manifest |= {
            "status": "finished",
            "ended": _now(),
            "num_steps": trainer.global_step,
            "replay_ratio_seen": None if monitor is None else monitor.replay_ratio_seen,
        }
        folder = RunFolder(trainer.default_root_dir)
        if folder.adapter.is_dir():
            self._manifest["adapter"] = {
                file.name: hash_file(file)
                for file in sorted(folder.adapter.iterdir())
                if file.is_file() and file.suffix != ".md"
            }
        write_json(folder.manifest, _json(self._manifest))


def versions() -> dict[str, str | None]:
    """Installed versions of what computes; None for what is not there."""
    return installed_versions(PACKAGES)


def device_name(device: torch.device) -> str:
    """Name of a GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def file_hashes(config: Mapping[str, Any]) -> dict[str, str]:
    """Hash of each file that a setting names, and of the files of each adapter folder; the run folder is left out."""
    found: dict[str, str] = {}
    for key, value in leaves(config):
        if not isinstance(value, str) or key in ("run_dir", "trainer.default_root_dir"):
            continue
        for name, path in _named_files(value):
            found[name] = hash_file(path)
    return found


def model_facts(pl_module: LightningModule) -> dict[str, Any]:
    """What the base model is, and the hash of the chat template."""
    base: Any = getattr(pl_module, "base", None)
    template: Any = getattr(pl_module, "template", None)
    share = base.quantized_share() if isinstance(base, BaseModel) else None
    return {
        "base": None if base is None else base.identity(),
        "quantized": None if share is None else share.to_dict(),
        "template_hash": None if template is None else template.hash,
    }


def hide_secrets(config: Any, name: str = "") -> Any:
    """The settings with the values of secret-looking keys replaced."""
    if isinstance(config, Mapping):
        return {key: hide_secrets(value, str(key)) for key, value in config.items()}
    if isinstance(config, list):
        return [hide_secrets(value, name) for value in config]
    return HIDDEN if isinstance(config, str) and _SECRET.search(name) else config


def hide_in_command(words: list[str]) -> Iterator[str]:
    """The command line with the values of secret-looking options replaced."""
    hide_next = False
    for word in words:
        option, equals, _ = word.partition("=")
        is_secret = option.startswith("-") and _SECRET.search(option) is not None
        yield HIDDEN if hide_next else f"{option}={HIDDEN}" if is_secret and equals else word
        hide_next = is_secret and not equals and not hide_next


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each setting."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(config, list):
        for value in config:
            yield from leaves(value, prefix)
    else:
        yield prefix, config


def _named_files(value: str) -> Iterator[tuple[str, Path]]:
    try:
        path = resolve(value)
        if path.is_file():
            yield value, path
        elif (path / ADAPTER_CONFIG).is_file():
            yield from (
                (f"{value}/{name}", path / name)
                for name in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)
                if (path / name).is_file()
            )
    except (OSError, ValueError, DataError):
        return  # not a path, or a base model by its embedded name, which `base` describes


def _data_summary(datamodule: Any) -> dict[str, Any] | None:
    """What a mixture says of its rows: sources, realised share of replay, shortfalls, fingerprint."""
    return datamodule.summary() if hasattr(datamodule, "summary") else None


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = read_yaml(path)
    return config if isinstance(config, dict) else {}


def _earlier_starts(manifest: Path) -> list[str]:
    return list(read_object(manifest).get("starts") or [])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as JSON can hold it; what it cannot becomes text."""
    plain: dict[str, Any] = json.loads(json.dumps(manifest, default=str), parse_constant=str)
    return plain
