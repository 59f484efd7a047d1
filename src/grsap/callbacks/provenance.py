"""Record settings, versions, data, code and machine of a run in `manifest.json`."""

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

    Both are written after data, weights and checkpoint have been checked, and before `on_train_start` of any other
    callback: a rejected start or resume leaves the folder unchanged. When a finished run is extended, its final results
    are moved aside.

    The manifest holds the resolved settings, versions, Python and platform, seeds, hashes of the files and adapters
    that the settings name, git commit and whether the tree was dirty, the identity of the base model, the hash of the
    chat template, row counts, planned and realised share of replay, the number of devices and the command line. Values
    of settings and options whose names end in token, key, secret or password are hidden.

    A resumed run writes it again, with the times of all starts.

    Attributes:
        config: the resolved settings as YAML; None to keep an existing `config.yaml`.
        opening: lines to print before the weights load.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config: str | None = None
        self.opening: list[str] = []
        self._manifest: dict[str, Any] = {}
        self._has_begun = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Collect the facts that are known before weights load; the data is set up by now."""
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
            "starts": [*(read_object(folder.manifest).get("starts") or []), _now()],
            "ended": None,
            "command": list(hide_in_command(sys.argv)),
            "config": hide_secrets(config),
            "seeds": {key: value for key, value in leaves(config) if key.split(".")[-1] in ("seed", "seed_everything")},
            "versions": installed_versions(PACKAGES),
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
            say(f"Results of the earlier end of the run were moved to {place}.")
        write_json(folder.manifest, _json(self._manifest))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the facts that are known at the end."""
        if not trainer.is_global_zero:
            return
        self._begin(trainer)  # Lightning does not call `on_train_start` if no step is left
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


def device_name(device: torch.device) -> str:
    """Return the name of a GPU or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def file_hashes(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each file that a setting names, and of the files of adapter folders; not of the run folder."""
    found: dict[str, str] = {}
    for key, value in leaves(config):
        if not isinstance(value, str) or key in ("run_dir", "trainer.default_root_dir"):
            continue
        for name, path in _named_files(value):
            found[name] = hash_file(path)
    return found


def model_facts(pl_module: LightningModule) -> dict[str, Any]:
    """Return the identity of the base model, and the hash of the chat template."""
    base: Any = getattr(pl_module, "base", None)
    template: Any = getattr(pl_module, "template", None)
    share = base.quantized_share() if isinstance(base, BaseModel) else None
    return {
        "base": None if base is None else base.identity(),
        "quantized": None if share is None else share.to_dict(),
        "template_hash": None if template is None else template.hash,
    }


def hide_secrets(config: Any, name: str = "") -> Any:
    """Return the settings with the values of secret-looking keys replaced."""
    if isinstance(config, Mapping):
        return {key: hide_secrets(value, str(key)) for key, value in config.items()}
    if isinstance(config, list):
        return [hide_secrets(value, name) for value in config]
    return HIDDEN if isinstance(config, str) and _SECRET.search(name) else config


def hide_in_command(words: list[str]) -> Iterator[str]:
    """Yield the words of the command line with the values of secret-looking options replaced."""
    hide_next = False
    for word in words:
        option, equals, _ = word.partition("=")
        is_secret = option.startswith("-") and _SECRET.search(option) is not None
        yield HIDDEN if hide_next else f"{option}={HIDDEN}" if is_secret and equals else word
        hide_next = is_secret and not equals and not hide_next


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of each setting; items of a list have the key of the list."""
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
        return  # not a path, or the embedded name of a base model, which `base` describes


def _data_summary(datamodule: Any) -> dict[str, Any] | None:
    """Return a mixture's sources, realised share of replay, shortfalls and fingerprint; None for other data."""
    return datamodule.summary() if hasattr(datamodule, "summary") else None


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = read_yaml(path)
    return config if isinstance(config, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as JSON; values of other types become strings."""
    plain: dict[str, Any] = json.loads(json.dumps(manifest, default=str), parse_constant=str)
    return plain
