"""A whole small run on a GPU: 4-bit base, bf16, packed rows, a check by generation, a kill and a resume."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.conftest import Workplace

pytestmark = pytest.mark.gpu
Make = Callable[[str], Workplace]


def run(place: Workplace, config: dict[str, Any], *words: str, **signals: int) -> int:
    """`grsap fit` in a fresh process: a forked one could not use CUDA."""
    (place.folder / "run.yaml").write_text(yaml.safe_dump(config))
    environment = os.environ | {f"{name}_AFTER_STEP": str(step) for name, step in signals.items()}
    command = [sys.executable, "-m", "grsap", "fit", "--config", "run.yaml", *words]
    with (place.folder / "log.txt").open("a") as log:
        return subprocess.run(
            command, cwd=place.folder, env=environment, stdout=log, stderr=log, check=False
        ).returncode


def on_gpu(config: dict[str, Any]) -> dict[str, Any]:
    """The run of these tests, without dropout, in bf16 on one GPU."""
    base = {**config["model"]["base"], "compute_dtype": "bfloat16"}
    lora = {**config["model"]["lora"], "lora_dropout": 0.0}
    trainer = {**config["trainer"], "accelerator": "gpu", "devices": 1}
    return {**config, "model": {**config["model"], "base": base, "lora": lora}, "trainer": trainer}


def log_of(place: Workplace) -> str:
    return Path(place.folder / "log.txt").read_text()


@pytest.mark.parametrize("kernels", ["torch", "liger"])
def test_a_4_bit_run_sees_the_same_rows_and_losses_as_on_a_processor(workplace: Make, kernels: str) -> None:
    if kernels == "liger":
        pytest.importorskip("liger_kernel")
    places = {name: workplace(name) for name in ("cpu", "gpu")}
    config = on_gpu(places["gpu"].config)
    config["model"]["step"] = {"use_liger_kernel": kernels == "liger"}
    assert run(places["gpu"], config) == 0, log_of(places["gpu"])
    config["trainer"] |= {"accelerator": "cpu"}
    config["model"]["base"] |= {"compute_dtype": "float32"}
    config["model"]["step"] = {"use_liger_kernel": False}
    assert run(places["cpu"], config) == 0, log_of(places["cpu"])
    ours, expected = places["gpu"].rows(), places["cpu"].rows()
    assert len(ours) == 12
    assert {step: rows for step, (rows, _) in ours.items()} == {step: rows for step, (rows, _) in expected.items()}
    assert [loss for _, loss in ours.values()] == pytest.approx([loss for _, loss in expected.values()], rel=0.02)


def test_a_killed_run_goes_on_as_the_uninterrupted_one(workplace: Make) -> None:
    whole, killed = workplace("whole"), workplace("killed")
    config = on_gpu(whole.config)
    assert run(whole, config) == 0, log_of(whole)
    assert run(killed, config, SIGKILL=7) == -9
    assert run(killed, config, "--resume") == 0, log_of(killed)
    assert {step: rows for step, (rows, _) in killed.rows().items()} == {
        step: rows for step, (rows, _) in whole.rows().items()
    }
    # FlashAttention's gradient adds up in no fixed order.
    losses = [[loss for _, loss in place.rows().values()] for place in (killed, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
