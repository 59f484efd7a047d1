"""`kill -9` of the real command while it embeds and while it scores: the same command ends with the same numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tests.similarity.conftest import Write, make_records, result_of

ROOT = Path(__file__).parents[2]

SLOW = '''
"""Embeds by rules, slowly, and notes each text's hash; likewise a model."""
import time
from pathlib import Path
import numpy as np
from grsap.embedding import Embedder
from grsap.files import hash_bytes
from grsap.generation import TransformersGenerator


def note(log, text):
    with open(log, "a") as file:
        file.write(text + "\\n")


class SlowLetters(Embedder):
    """Slow."""

    def batches(self, texts):
        for index, text in enumerate(texts):
            time.sleep(0.002)
            note("embedded.log", hash_bytes(text.encode()))
            yield [index], np.random.default_rng(list(text.encode())).normal(size=(1, 8))

    def identity(self):
        return {"embedder": "SlowLetters"}


class SlowModel(TransformersGenerator):
    """Slow."""

    def likelihoods(self, requests):
        for each in super().likelihoods(requests):
            note("scored.log", each.id)
            time.sleep(0.005)
            yield each
'''


def start(folder: Path, output: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "grsap", "similarity", "--config", "run.yaml", "--output_dir", output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_after(process: subprocess.Popen[str], log: Path, num_lines: int) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < num_lines):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_killed_while_embedding_and_while_scoring(tmp_path: Path, write: Write, tiny_base_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    settings = {
        "curated": write("curated.jsonl", make_records(150, 1)),
        "reference": write("reference.jsonl", make_records(300, 2)),
        "num_seeds": 1,
        "embedder": {"class_path": "slow.SlowLetters"},
        "model": {
            "class_path": "slow.SlowModel",
            "init_args": {"base": {"path": str(tiny_base_path), "quantization": "none"}, "device": "cpu"},
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    logs = tmp_path / "embedded.log", tmp_path / "scored.log"
    kill_after(start(tmp_path, "out"), logs[0], 400)
    embedded = Counter(logs[0].read_text().split())
    kill_after(start(tmp_path, "out"), logs[1], 100)
    before = Counter(logs[1].read_text().split())
    process = start(tmp_path, "out")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Going on with the work in out." in err
    assert "Responses under the model, in nats" in out
    killed = result_of(tmp_path / "out")
    # A text or row was asked for again only if its batch, or its line, was not yet on disk.
    num_twice = sum(count - 1 for count in Counter(logs[0].read_text().split()).values())
    assert num_twice <= 256
    assert embedded.total() >= 400
    scored = Counter(logs[1].read_text().split())
    assert before.total() >= 100
    assert set(scored.values()) <= {1, 2}
    assert sum(count - 1 for count in scored.values()) <= 1
    assert (
        len(scored)
        == 300
        == sum(each["details"]["num_rows"] for each in killed["measures"] if each["measure"].endswith("per_token"))
    )
    for log in logs:
        log.unlink()
    process = start(tmp_path, "whole")
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert result_of(tmp_path / "whole")["measures"] == killed["measures"]
