"""The subjects in a run's folder: its base, its checkpoints and its final weights."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from grsap.errors import RunFolderError
from grsap.evaluation.subjects import Engines, Say, Subject, SubjectSource
from grsap.files import user_path
from grsap.generation import TransformersGenerator
from grsap.json_text import read_object
from grsap.models import BaseModel
from grsap.models.adapters import adapter_hash
from grsap.models.weight_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from grsap.runs.folder import RunFolder, checkpoint_damage, checkpoint_step
from grsap.yaml_text import read_yaml


class RunSubjects(SubjectSource):
    """A run of `grsap fit`: its base model, its checkpoints and its final adapter or model.

    Base, quantization and template settings are those of the run. The base is the baseline of all others.

    Args:
        run_dir: the run's folder.
        checkpoints: whether to evaluate the checkpoints too.
        name: prefix of the subjects' names; by default the folder's name.
    """

    def __init__(self, run_dir: str, checkpoints: bool = True, name: str | None = None) -> None:
        self.run_dir = run_dir
        self.checkpoints = checkpoints
        self.name = name

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """Return the base, the checkpoints in order, and the final weights.

        Damaged checkpoints are left out, and checkpoints that equal the final weights.

        Raises:
            RunFolderError: the folder has no run or no trained weights, or the base changed since the run.
        """
        folder = RunFolder(user_path(self.run_dir))
        config, manifest = _read_config(folder), read_object(folder.manifest)
        base = _base_of(config, folder)
        name = self.name or folder.path.resolve().name
        generator = engines.on_base(base)
        _check_same_base(generator, manifest, folder)
        start = Subject(f"{name}/start", "start", generator, run=name, step=0)
        trained = Subject(name, "final", generator, start=start.name, run=name, replay_path=_replay_path(config))
        end = self._end(folder, trained, engines, manifest)
        on_the_way = self._on_the_way(folder, trained, end, say)
        found = [*on_the_way, *([] if end is None else [end])]
        if not found:
            raise RunFolderError(f"run {folder.path} has no trained weights", "Finish it with grsap fit --resume")
        return [start, *found]

    def _end(self, folder: RunFolder, trained: Subject, engines: Engines, manifest: dict[str, Any]) -> Subject | None:
        """Return the final weights; None if the run is not finished."""
        step = manifest.get("num_steps")
        if (folder.adapter / ADAPTER_CONFIG).is_file():
            trained.local_generator.check_adapter(str(folder.adapter))
            return replace(trained, adapter=str(folder.adapter), step=step)
        if (folder.adapter / "config.json").is_file() and isinstance(trained.generator, TransformersGenerator):
            base = replace(trained.generator.base, path=str(folder.adapter), revision=None, merge_adapter=None)
            return replace(trained, generator=engines.on_base(base), step=step)
        if folder.adapter.is_dir():
            raise RunFolderError(f"{folder.adapter} holds neither an adapter nor a model", "Restore the folder")
        return None

    def _on_the_way(self, folder: RunFolder, trained: Subject, end: Subject | None, say: Say) -> list[Subject]:
        found: list[Subject] = []
        for path in folder.checkpoints() if self.checkpoints else ():
            damage = checkpoint_damage(path)
            if damage is None and not any((path / name).is_file() for name in ADAPTER_WEIGHTS):
                damage = "full fine-tuning keeps no adapter in it"
            if damage is not None:
                say(f"{path} is left out: {damage}")
            elif end is None or end.adapter is None or adapter_hash(path) != adapter_hash(Path(end.adapter)):
                trained.local_generator.check_adapter(str(path))
                step = checkpoint_step(path)
                found.append(replace(trained, name=f"{trained.name}/{path.name}", adapter=str(path), step=step))
        last = len(found) - 1 if end is None else -1
        return [each if n == last else replace(each, role="checkpoint") for n, each in enumerate(found)]


def _read_config(folder: RunFolder) -> dict[str, Any]:
    try:
        config = read_yaml(folder.config)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFolderError(
            f"{folder.config} cannot be read: {str(error).splitlines()[0]}", "Give the folder of a run of grsap fit"
        ) from error
    return config if isinstance(config, dict) else {}


def _base_of(config: dict[str, Any], folder: RunFolder) -> BaseModel:
    settings = (config.get("model") or {}).get("base")
    known = {field.name for field in fields(BaseModel)}
    if not isinstance(settings, dict) or not {"path"} <= settings.keys() <= known:
        raise RunFolderError(
            f"{folder.config} has no model.base that this version of grsap reads",
            "Give the folder of a run of grsap fit",
        )
    return BaseModel(**settings)


def _replay_path(config: dict[str, Any]) -> str | None:
    replay = (config.get("data") or {}).get("replay")
    if not isinstance(replay, dict):
        return None
    path = (replay.get("init_args") or replay).get("path")
    return None if path is None else str(path)


def _check_same_base(generator: TransformersGenerator, manifest: dict[str, Any], folder: RunFolder) -> None:
    """Raise RunFolderError if the base or its template differ from the run's manifest."""
    was = manifest.get("base")
    now = generator.base.identity()
    differ = [key for key in now if isinstance(was, dict) and key in was and was[key] != now[key]]
    if manifest.get("template_hash") not in (None, generator.template.hash):
        differ.append("template_hash")
    if differ:
        raise RunFolderError(
            f"the base of run {folder.path} is not what it was trained on: {', '.join(differ)} changed",
            "Restore the base, its merge_adapter and its chat template",
        )
