"""Liger's kernels: what must be there for them, and that they are put in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from grsap.errors import ConfigError, MissingPackageError, ModelError
from grsap.models import BaseModel
from grsap.models.liger import check_liger, use_liger


def test_they_need_a_gpu_and_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="needs a GPU, and the model is on cpu"):
        check_liger(torch.device("cpu"), "llama")
    monkeypatch.setattr("grsap.models.liger.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"Run: pip install 'grsap\[gpu\]'"):
        check_liger(torch.device("cuda"), "llama")


@pytest.mark.gpu
def test_norms_and_gated_layers_are_theirs(tiny_base_path: Path) -> None:
    pytest.importorskip("liger_kernel")
    device = torch.device("cuda")
    with pytest.raises(ModelError, match="no kernels for models of type mamba"):
        check_liger(device, "mamba")
    model = BaseModel(str(tiny_base_path)).load(device)
    use_liger(model)
    layer = model.model.layers[0]
    assert all("forward" in vars(part) for part in (model.model.norm, layer.input_layernorm, layer.mlp))
