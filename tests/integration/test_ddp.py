"""Two processes over gloo with an NF4 base do what one does, with gradient checkpointing and without."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.integration.conftest import Workplace

WAYS = {
    "plain": (False, "ddp"),
    "checkpointing": (True, "ddp"),
    "checkpointing, unused parameters looked for": (True, "ddp_find_unused_parameters_true"),
}


@pytest.mark.parametrize(
    "way", [pytest.param(each, marks=() if each == "checkpointing" else pytest.mark.slow) for each in WAYS]
)
def test_two_processes_do_the_steps_of_one(workplace: Callable[[str], Workplace], way: str) -> None:
    one, two = workplace("one"), workplace("two")
    config = copy.deepcopy(one.config)
    config["model"]["lora"]["lora_dropout"] = 0.0  # dropout depends on the rank
    assert one.run(config=config) == 0, (one.folder / "log.txt").read_text()

    config["model"]["base"]["gradient_checkpointing"], strategy = WAYS[way]
    config["trainer"] |= {"devices": 2, "strategy": strategy}
    (two.folder / "run.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "grsap", "fit", "--config", "run.yaml"]
    done = subprocess.run(
        command, cwd=two.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

    assert sorted(two.rows()) == list(range(12))
    for step, (ids, loss) in one.rows().items():
        assert two.rows()[step][0] == ids
        assert two.rows()[step][1] == pytest.approx(loss, rel=1e-4)
    name = "adapter/adapter_model.safetensors"
    left, right = load_file(one.run_dir / name), load_file(two.run_dir / name)
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(value, right[key], rtol=2e-2, atol=2e-4)
    assert {p.name for p in two.run_dir.iterdir()} == {p.name for p in one.run_dir.iterdir()}
    assert two.summary()["num_tokens"] == one.summary()["num_tokens"]
    assert two.summary()["before"] == one.summary()["before"]
