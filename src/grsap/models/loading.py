"""Loading a whole model: every tensor of its files must find its place, and every place its tensor."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from grsap.errors import ModelError, is_out_of_memory
from grsap.models.weight_files import WeightFiles

_REMEDY = "Give a folder whose config.json and weights belong together"
_CONVERSION_ROW = re.compile(r"^(\S+)\s*\|\s*CONVERSION", re.MULTILINE)


def rehearse(empty: PreTrainedModel, files: WeightFiles) -> None:
    """Load the shapes of the tensors by transformers' own rules (renaming, fused experts, tied weights): no values.

    What an architecture ignores or ties is fine. Weights that are stored quantized are left to the real loading, since
    their tensors are not those of the model.

    Args:
        empty: the model on the meta device.
        files: of the weights.

    Raises:
        ModelError: a tensor is missing, unexpected or of another shape; names the folder and the first one.
    """
    if getattr(empty.config, "quantization_config", None):
        files.shapes()  # reads the headers
        return
    with _collected_log() as lines:
        try:
            model_class: Any = type(empty)
            _, report = model_class.from_pretrained(
                None,
                config=empty.config,
                state_dict=files.shapes(),
                dtype=torch.float32,
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            first = _CONVERSION_ROW.search("\n".join(lines))
            what = f"tensors of {first[1]}" if first else "the weights"
            raise ModelError(f"{files.folder}: {what} do not fit together", _REMEDY) from error
    check_report(report, files.folder)


def check_report(report: Mapping[str, Any], folder: str | Path) -> None:
    """Raise ModelError if transformers' report of a load names a tensor.

    Args:
        report: as `from_pretrained` gives it with `output_loading_info`.
        folder: or Hub id, for the error.
    """
    shapes = {
        name: f"{tuple(given)}, and the model's is {tuple(own)}" for name, given, own in report["mismatched_keys"]
    }
    _raise_first(folder, shapes, lambda name: f"the tensor {name} has the shape {shapes[name]}")
    _raise_first(folder, report["missing_keys"], lambda name: f"the tensor {name} is missing")
    _raise_first(folder, report["unexpected_keys"], lambda name: f"the tensor {name} has no place in the model")


def _raise_first(folder: str | Path, names: Iterable[str], describe: Any) -> None:
    ordered = sorted(names)
    if ordered:
        more = f" (and {len(ordered) - 1} more like it)" if len(ordered) > 1 else ""
        raise ModelError(f"{folder}: {describe(ordered[0])}{more}", _REMEDY)


@contextmanager
def _collected_log() -> Iterator[list[str]]:
    """transformers' log lines as a list, off the console; its progress bars off."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(re.sub("\x1b\\[[0-9;]*m", "", record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    kept, propagate = logger.handlers, logger.propagate
    shows_progress = transformers_logging.is_progress_bar_enabled()
    logger.handlers, logger.propagate = [handler], False
    transformers_logging.disable_progress_bar()
    try:
        yield lines
    finally:
        logger.handlers, logger.propagate = kept, propagate
        if shows_progress:
            transformers_logging.enable_progress_bar()
