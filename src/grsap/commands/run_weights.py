"""Choose the weights for `validate`, `test` and `predict`: the run's last ones, or with `--base` the base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from grsap.errors import RunFolderError
from grsap.runs.folder import RunFolder, changed_file, checkpoint_damage

if TYPE_CHECKING:
    from grsap.commands.settings import RunSettings

_BASE = "or add --base to use the unchanged base model"


@dataclass(frozen=True)
class Weights:
    """Weights to use.

    Attributes:
        name: `base`, `adapter`, or a checkpoint's, such as `step=000040`.
        note: line to print about them.
        checkpoint: folder of the checkpoint that holds them; None if they are not in one.
        export: folder of the finished run's adapter or model; None if they are not from it.
    """

    name: str
    note: str
    checkpoint: Path | None = None
    export: Path | None = None

    @property
    def ckpt_path(self) -> str | None:
        """Lightning's argument of this name; None without a checkpoint."""
        return None if self.checkpoint is None else str(self.checkpoint / "trainer.ckpt")


def use_weights(settings: RunSettings, base: bool, say: Callable[[str], None]) -> Weights:
    """Choose the weights, and configure the model to load those that Lightning does not load.

    Args:
        settings: of the call.
        base: whether to use the base model without a run.
        say: prints the weights in use, and differences from the run's base model.

    Raises:
        RunFolderError: there is no run, its weights are damaged, or `model.lora` differs from the run's.
    """
    model = settings.model
    if base:
        say(f"Using the base model {model.base.path} unchanged, without a run.")
        return Weights("base", "")
    folder = RunFolder(settings.run_dir)
    weights = weights_of(folder)
    differences = folder.differences(settings.resolved_config()) or []
    if of_lora := [line for line in differences if line.startswith("model.lora")]:
        raise RunFolderError(
            f"the weights in {folder.path} were trained with another model.lora: {of_lora[0]}",
            f"Use the settings of the run, which are in {folder.config}",
        )
    for line in differences:
        if line.startswith("model.base."):
            say(f"Different from the run: {line}")
    say(weights.note)
    if weights.export is not None and model.lora is not None:
        model.saved_adapter = weights.export
    elif weights.export is not None:  # of full fine-tuning: a whole model
        path = str(weights.export)
        model.base = settings.datamodule.base = replace(model.base, path=path, revision=None, merge_adapter=None)
    return weights


def weights_of(folder: RunFolder) -> Weights:
    """Return the final weights of a finished run, otherwise those of its newest checkpoint.

    Never older ones: their results would be taken for the run's.

    Raises:
        RunFolderError: the folder holds no run, or the weights are missing or damaged.
    """
    if not folder.holds_run:
        what = "holds no run of grsap fit" if folder.path.is_dir() else "does not exist"
        raise RunFolderError(f"run_dir {folder.path} {what}", f"Give the folder of a run with --run_dir, {_BASE}")
    if folder.is_finished:
        return _of_finished(folder)
    checkpoints = folder.checkpoints()
    if not checkpoints:
        raise RunFolderError(
            f"the run in {folder.path} has no checkpoint yet", f"Finish it with grsap fit --resume, {_BASE}"
        )
    damage = checkpoint_damage(checkpoints[-1])
    if damage is not None:
        raise RunFolderError(
            f"the newest checkpoint {checkpoints[-1]} is damaged ({damage})",
            "Resume the run, which uses the checkpoint before it, or move this folder away to use that one",
        )
    return Weights(checkpoints[-1].name, f"Using {checkpoints[-1]} of an unfinished run.", checkpoints[-1])


def _of_finished(folder: RunFolder) -> Weights:
    step = int((folder.read_summary() or {}).get("num_steps") or 0)
    last = folder.checkpoint_path(step)
    damage = checkpoint_damage(last) if last.exists() else "it is missing"
    if damage is None:
        return Weights(last.name, f"Using {last}.", last)
    hashes = (folder.read_manifest() or {}).get("adapter")
    changed = changed_file(folder.adapter, hashes) if hashes else f"{folder.manifest} does not list its files"
    if changed is not None:
        raise RunFolderError(
            f"the final weights of the run are damaged: {last} ({damage}) and {folder.adapter} ({changed})",
            f"Restore one of them, train again in another --run_dir, {_BASE}",
        )
    note = f"{last} is damaged ({damage}): using {folder.adapter}, which is intact."
    return Weights("adapter", note, export=folder.adapter)
