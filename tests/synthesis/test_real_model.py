"""All domains on a real model, killed in the middle: the same rows as without a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.synthesis.conftest import manifest_of, rows_of

SOURCE = str(Path(__file__).parents[2] / "src")


def start(folder: Path, config: dict[str, Any], output: str) -> subprocess.Popen[str]:
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "grsap", "synthesize", "--config", "run.yaml", "--output_dir", output]
    environment = {**os.environ, "PYTHONPATH": SOURCE, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_after(process: subprocess.Popen[str], num_lines: int, log: Path) -> None:
    """Kill the process when a file has this many lines."""
    deadline = time.monotonic() + 600
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < num_lines):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_38_domains_on_a_real_model(tmp_path: Path) -> None:
    """38 x 8 on SmolLM2 twice, one of them killed in the middle: the same ids."""
    config = {
        "generator": {
            "class_path": "TransformersGenerator",
            "init_args": {
                "base": {
                    "path": "embedded:smollm2-135m-instruct",
                    "merge_adapter": "embedded:quickstart/aligned_adapter",
                    "quantization": "none",
                }
            },
        },
        "quota": {"num_per_domain": 8},
        "query_sampling": {"max_new_tokens": 48, "temperature": 1.0},
        "response_sampling": {"max_new_tokens": 48, "temperature": 0.8, "top_p": 0.95},
    }
    finish_slowly(start(tmp_path, config, "whole"))
    kill_after(start(tmp_path, config, "killed"), 100, tmp_path / "killed" / "shard-00000.jsonl")
    assert 0 < len((tmp_path / "killed" / "shard-00000.jsonl").read_bytes().splitlines()) < 304
    finish_slowly(start(tmp_path, config, "killed"))
    whole, killed = ({row.id for row in rows_of(tmp_path / name)} for name in ("whole", "killed"))
    assert killed == whole
    assert len(whole) == 38 * 8
    assert json.dumps(manifest_of(tmp_path / "killed")["counts"]["num_unfilled"]) == "0"


def finish_slowly(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    assert "304" in out
