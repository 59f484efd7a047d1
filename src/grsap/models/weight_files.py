"""Files of a model or adapter: their tensors, and one hash of everything that affects answers."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from grsap.errors import ModelError, first_line, is_out_of_memory
from grsap.files import hash_json, user_path
from grsap.json_text import read_json
from grsap.models.cache import remembered_hash

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
MODEL_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order in which transformers looks for them."""
# Configuration, tokenizer, chat templates and code: everything besides the weights that affects answers.
_SETTINGS_SUFFIXES = frozenset({".bpe", ".jinja", ".json", ".model", ".py", ".spm", ".tiktoken", ".txt", ".vocab"})
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
RESTORE = "Download or write it again"


@dataclass(frozen=True)
class WeightFiles:
    """The files of one folder that make up a model or an adapter.

    Attributes:
        folder: the folder.
        weights: files of tensors; several for a sharded model.
        settings: other files that affect answers; for an adapter only its `adapter_config.json`.
    """

    folder: Path
    weights: tuple[Path, ...]
    settings: tuple[Path, ...] = ()

    @classmethod
    def of_adapter(cls, folder: Path) -> WeightFiles:
        """Return the files of an adapter that PEFT loads.

        Raises:
            ModelError: a file is missing or cannot be read.
        """
        config = folder / ADAPTER_CONFIG
        if not config.is_file():
            raise ModelError(
                f"{folder} is no PEFT adapter (no {ADAPTER_CONFIG})", f"Give the folder with {config.name}"
            )
        read_json_object(config)
        weights = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
        if weights is None:
            raise ModelError(f"the adapter {folder} has no weights (no {' or '.join(ADAPTER_WEIGHTS)})", RESTORE)
        return cls(folder, (weights,), (config,))

    @classmethod
    def of_model(cls, folder: Path) -> WeightFiles:
        """Return the files of a model and its tokenizer that transformers loads.

        Raises:
            ModelError: a file is missing or cannot be read.
        """
        config = folder / "config.json"
        if not config.is_file():
            raise ModelError(f"{folder} is no model folder (no config.json)", "Give a Hub id or a model folder")
        named = read_json_object(config).get("transformers_weights")
        names = MODEL_WEIGHTS if named is None else (str(named),)
        found = next((path for name in names if (path := _inside(folder, name, config)).is_file()), None)
        if found is None:
            raise ModelError(f"{folder} has no weights (no {' or '.join(names)})", RESTORE)
        return cls(folder, _shards(found) if found.suffix == ".json" else (found,), settings_files(folder))

    @classmethod
    def of_folder(cls, folder: Path) -> WeightFiles:
        """Return the files of a model of another library, such as an embedder: settings, and all weights by them."""
        settings = settings_files(folder)
        places = {folder, *(file.parent for file in settings)}
        weights = {file for place in places for file in place.iterdir() if file.suffix in (".safetensors", ".bin")}
        return cls(folder, tuple(sorted(weights)), settings)

    @property
    def hash(self) -> str:
        """Return a hash of names and contents. Reads all files, which takes seconds for a large model at first."""
        return hash_files(self.folder, {*self.weights, *self.settings})

    def shapes(self) -> dict[str, Tensor]:
        """Return all tensors by name, on the meta device; reads headers only.

        Raises:
            ModelError: a file is damaged.
        """
        return {name: tensor for file in self.weights for name, tensor in _read(file, "meta")}

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, in memory; for adapters."""
        return {name: tensor for file in self.weights for name, tensor in _read(file, "cpu")}

    def check_finite(self) -> None:
        """Raise ModelError if a tensor contains NaN or infinity. Reads all weights once."""
        for file in self.weights:
            for name, tensor in _read(file, "cpu"):
                if not is_finite(tensor):
                    raise ModelError(f"{file}: the tensor {name} is not finite (NaN or infinity)", RESTORE)


def settings_files(folder: Path) -> tuple[Path, ...]:
    """Return the files besides weights that affect a model's answers: configuration, tokenizer, templates, code."""
    places = [folder, folder / "additional_chat_templates"]
    if (folder / "modules.json").is_file():  # sentence-transformers stores each module in a subfolder
        places += [place for place in folder.rglob("*") if place.is_dir()]
    found = (file for place in places if place.is_dir() for file in place.iterdir())
    return tuple(sorted(file for file in found if file.suffix in _SETTINGS_SUFFIXES and file.is_file()))


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """Return a hash of the files' contents and their paths relative to `folder`."""
    return hash_json({file.relative_to(folder).as_posix(): remembered_hash(file) for file in sorted(files)})


def is_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite; True for integers."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    # aminmax needs one pass and no temporary tensor, unlike isfinite; it has no kernel for 8-bit floats.
    values = tensor if tensor.element_size() > 1 else tensor.float()
    return all(bool(torch.isfinite(extreme)) for extreme in values.aminmax())


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a model.

    Raises:
        ModelError: the file is missing, empty, a git LFS pointer, or contains no JSON object.
    """
    _check_content(path)
    try:
        value = read_json(path, constants=True)
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}", RESTORE) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds a JSON {type(value).__name__}, not an object", RESTORE)
    return value


def _inside(folder: Path, name: str, source: Path) -> Path:
    """Return the path of a file that `source`, a file of the same folder, names.

    Raises:
        ModelError: the path is outside the folder: a model must not read other files of the machine.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ModelError(f"{source} names the file {name!r}, which is outside its folder", RESTORE)
    return folder / name


def check_model_folder(path: str) -> None:
    """Check by its small files that a folder contains a model.

    Args:
        path: path as configured; the error message begins with this argument's name.

    Raises:
        ModelError: the folder contains an adapter, no config.json, or a file that cannot be read.
    """
    folder = user_path(path)
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"path {path} holds an adapter ({ADAPTER_CONFIG})",
            "Give the model that the adapter was trained on, and the adapter as merge_adapter",
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"path {path} is no model folder (no config.json)", "Give a Hub id or a model folder")
    read_json_object(folder / "config.json")
    generation = folder / "generation_config.json"
    if generation.is_file():  # transformers ignores a broken one, including its tokens that end a turn
        read_json_object(generation)


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the files of a shard index; raise ModelError if one is missing."""
    weight_map = read_json_object(index).get("weight_map")
    if (
        not isinstance(weight_map, Mapping)
        or not weight_map
        or not all(isinstance(v, str) for v in weight_map.values())
    ):
        raise ModelError(f"{index} has no weight_map from tensors to files", RESTORE)
    shards = sorted({_inside(index.parent, name, index) for name in weight_map.values()})
    for shard in shards:
        if not shard.is_file():
            raise ModelError(f"{shard} is missing, which {index.name} names", RESTORE)
    return tuple(shards)


def _check_content(file: Path) -> None:
    """Check that a file can be read and is not a placeholder.

    Raises:
        ModelError: the file is unreadable, empty, or a git LFS pointer.
    """
    try:
        with file.open("rb") as handle:
            start = handle.read(len(_LFS_POINTER))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}", RESTORE) from error
    if not start:
        raise ModelError(f"{file} is empty", RESTORE)
    if start == _LFS_POINTER:
        raise ModelError(f"{file} is a git LFS pointer, not the file itself", "Run git lfs pull in its folder")


def _read(file: Path, device: str) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of a file; on the meta device without values.

    Raises:
        ModelError: the file is damaged, or a pickle with other objects than tensors.
    """
    _check_content(file)
    if file.suffix == ".safetensors":
        yield from _read_safetensors(file, device)
    else:
        yield from _read_pickle(file, device)


def _read_safetensors(file: Path, device: str) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt", device="cpu") as reader:
            for name in reader.keys():  # noqa: SIM118 (no mapping)
                tensor = reader.get_tensor(name) if device != "meta" else _shape_of(reader.get_slice(name))
                yield name, tensor
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged: {error}", RESTORE) from error


def _shape_of(piece: Any) -> Tensor:
    shape = piece.get_shape()
    # The header's dtype names differ from torch's, so an empty slice is read for its dtype; scalars have no slices.
    values = piece[...] if not shape else piece[:0]
    return torch.empty(shape, dtype=values.dtype, device="meta")


def _read_pickle(file: Path, device: str) -> Iterator[tuple[str, Tensor]]:
    try:
        held = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} holds more than tensors, or is damaged: {first_line(error)}",
            "Convert it to safetensors if you trust it",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{file} is damaged: {first_line(error)}", RESTORE) from error
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ModelError(f"{file} holds no tensors by name", RESTORE)
    yield from held.items()
