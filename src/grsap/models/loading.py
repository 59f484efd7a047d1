"""Checks that the tensors of a model's files are exactly those of the model."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from grsap.errors import ModelError, is_out_of_memory
from grsap.models.weight_files import WeightFiles

_REMEDY = "Give a folder whose config.json and weights belong together"
_CONVERSION_ROW = re.compile(r"^(\S+)\s*\|\s*CONVERSION", re.MULTILINE)


def rehearse(empty: PreTrainedModel, files: WeightFiles, config: Any) -> frozenset[str]:
    """Load the shapes of all tensors without values, by transformers' rules (renaming, fused experts, tied weights).

    Tensors that an architecture ignores or ties may be missing. Of a multimodal model, whose text model is used, the
    other parts may be unexpected. Quantized files, whose tensors differ, are checked only when they are loaded.

    Args:
        empty: the model on the meta device.
        files: files of the weights.
        config: configuration stored with the files.

    Returns:
        Names of the tensors that the model does not use.

    Raises:
        ModelError: a tensor is missing, unexpected or of another shape; names the folder and the first tensor.
    """
    shapes = files.shapes()
    if getattr(empty.config, "quantization_config", None):
        return frozenset()
    report = _report(empty, shapes, files.folder)
    left_out = frozenset(report["unexpected_keys"])
    whole = _multimodal_model(config) if left_out else None
    if whole is not None:
        check_report(_report(whole, shapes, files.folder), files.folder)
        check_report(report, files.folder, left_out)
        return left_out
    check_report(report, files.folder)
    return frozenset()


def check_report(report: Mapping[str, Any], folder: str | Path, left_out: frozenset[str] = frozenset()) -> None:
    """Raise ModelError if transformers' loading report names a tensor.

    Args:
        report: report of `from_pretrained` with `output_loading_info`.
        folder: folder or Hub id, for error messages.
        left_out: tensors that may be unexpected.
    """
    shapes = {
        f"{name} has the shape {tuple(given)}, and the model's is {tuple(own)}"
        for name, given, own in report["mismatched_keys"]
    }
    raise_first(f"{folder}", shapes, "", _REMEDY)
    raise_first(f"{folder}", report["missing_keys"], " is missing", _REMEDY)
    raise_first(f"{folder}", set(report["unexpected_keys"]) - left_out, " has no place in the model", _REMEDY)


def _report(empty: PreTrainedModel, shapes: Mapping[str, Tensor], folder: Path) -> dict[str, Any]:
    with _collected_log() as lines:
        try:
            model_class: Any = type(empty)
            _, report = model_class.from_pretrained(
                None,
                config=empty.config,
                state_dict=dict(shapes),
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
            raise ModelError(f"{folder}: {what} do not fit together", _REMEDY) from error
    found: dict[str, Any] = report
    return found


def _multimodal_model(config: Any) -> PreTrainedModel | None:
    """Return the empty multimodal model of a config that contains a text model and others (Llama 4); else None."""
    named = getattr(transformers, next(iter(config.architectures or ()), ""), None)
    if config.get_text_config() is config or not (isinstance(named, type) and issubclass(named, PreTrainedModel)):
        return None
    with torch.device("meta"):
        return named(copy.deepcopy(config))


def raise_first(owner: str, tensors: Iterable[str], fault: str, remedy: str) -> None:
    """Raise ModelError for the first of the faulty `tensors` in order, if there are any."""
    ordered = sorted(tensors)
    if ordered:
        more = f" (and {len(ordered) - 1} more like it)" if len(ordered) > 1 else ""
        raise ModelError(f"{owner}: the tensor {ordered[0]}{fault}{more}", remedy)


@contextmanager
def _collected_log() -> Iterator[list[str]]:
    """Collect transformers' log lines instead of printing them, and disable its progress bars."""
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
