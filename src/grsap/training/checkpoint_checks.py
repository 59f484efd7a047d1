"""Reject checkpoints of other models."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from grsap.errors import ModelError
from grsap.models import BaseModel
from grsap.models.weight_files import is_finite


def check_same_base(base: BaseModel, content: Mapping[str, str | None] | None, checkpoint: str) -> None:
    """Check that a checkpoint's weights were trained on this base.

    Args:
        base: the loaded base.
        content: hashes stored in the checkpoint, see `BaseModel.content`; None for checkpoints without them.
        checkpoint: path of the checkpoint, for the error.

    Raises:
        ModelError: files of the base or of its merged adapter have changed since.
    """
    if content is not None and dict(content) != base.content():
        raise ModelError(
            f"{checkpoint} belongs to other weights than those at model.base.path {base.path}: its files, or those of "
            "model.base.merge_adapter, have changed",
            "Restore the files, or start a new run",
        )


def check_tensors(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], checkpoint: str) -> None:
    """Check that a checkpoint holds the trainable tensors of this model, with finite values.

    Args:
        expected: trainable tensors of the model.
        given: tensors of the checkpoint.
        checkpoint: path of the checkpoint, for the error.

    Raises:
        ModelError: a tensor is missing, unexpected, of another shape or not finite.
    """
    own, stored = _shapes(expected), _shapes(given)
    if own != stored:
        raise ModelError(
            f"{checkpoint} holds {len(stored)} trainable tensors, this model has {len(own)}; "
            f"for instance {min(own ^ stored)[0]} is not in both, or has another shape",
            "Resume with the original settings of model.lora",
        )
    for name, value in given.items():
        if not is_finite(value):
            raise ModelError(
                f"{checkpoint}: the tensor {name} is not finite (NaN or infinity)", "Use an earlier checkpoint"
            )


def _shapes(tensors: Mapping[str, Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(value.shape)) for name, value in tensors.items()}
