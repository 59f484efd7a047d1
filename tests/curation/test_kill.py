"""`kill -9` of the real command: the same command goes on, and the files end with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.curation.conftest import row, write
from tests.curation.test_curation import digests

SOURCE = str(Path(__file__).parents[2] / "src")
NUM_ROWS = 60
FILTERS = ("Completeness", "SemanticDeduplication", "Harmlessness", "Behaviour")

SLOW = '''
"""A judge and an embedder that are slow enough to be killed; the judge notes each exchange that it judged."""
import time
import numpy as np
from grsap.embedding import Embedder
from grsap.judging import Judge, Verdict


class SlowJudge(Judge):
    """Slow."""

    name = "slow"
    revision = "1"

    def judge(self, exchanges):
        time.sleep(0.02 * len(exchanges))
        with open("judged.log", "a") as log:
            log.writelines(f"{each.prompt}\\n" for each in exchanges)
        return [Verdict(True, "zorble" in each.response, "cannot" in each.response) for each in exchanges]


class SlowEmbedder(Embedder):
    """Slow."""

    def batches(self, texts):
        for number, text in enumerate(texts):
            time.sleep(0.005)
            draw = np.random.default_rng(int(text.split()[-1]) // 2)
            yield [number], draw.normal(size=(1, 8))

    def identity(self):
        return {"embedder": "slow"}
'''


def prepare(folder: Path) -> dict[str, Any]:
    (folder / "slow_parts.py").write_text(SLOW)
    answers = ["I cannot help with that.", "You zorble it at once."]
    rows = [row(f"r{n:03}", f"How do I steal number {n}", response=answers[n % 5 == 0]) for n in range(NUM_ROWS)]
    random.Random(0).shuffle(rows)
    write(folder / "raw" / "shard-00000.jsonl", rows)
    return {
        "input": "raw",
        "embedder": "slow_parts.SlowEmbedder",
        "judge": "slow_parts.SlowJudge",
        "judge_batch_size": 2,
        "filters": [{"class_path": name} for name in FILTERS],
    }


def start(folder: Path, config: dict[str, Any], output: str) -> subprocess.Popen[str]:
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "grsap", "curate", "--config", "run.yaml", "--output_dir", output]
    environment = {**os.environ, "PYTHONPATH": SOURCE, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(process: subprocess.Popen[str], folder: Path, moment: int) -> None:
    """Kill the process a random while after so many lines of results are there (of 15 or 17 in the end)."""
    deadline = time.monotonic() + 600
    while process.poll() is None and sum(map(num_lines, (folder / "results").glob("*.log"))) < moment:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.Random(moment).random() * 0.04)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check_killed(folder: Path, moments: list[int]) -> None:
    config = prepare(folder)
    finish(start(folder, config, "whole"))
    once = Counter((folder / "judged.log").read_text().splitlines())
    assert set(once.values()) == {1}
    assert len(once) == NUM_ROWS / 2  # each second row repeats the one before
    (folder / "judged.log").unlink()
    for moment in moments:
        kill_at(start(folder, config, "killed"), folder / "killed", moment)
    finish(start(folder, config, "killed"))
    assert digests(folder / "killed") == digests(folder / "whole")
    again = Counter((folder / "judged.log").read_text().splitlines())
    assert set(again) == set(once)
    # Only the batch that a kill found in the air may have been judged twice.
    assert sum(again.values()) <= sum(once.values()) + 2 * len(moments)


@pytest.mark.slow
def test_killed_at_twenty_moments(tmp_path: Path) -> None:
    check_killed(tmp_path, sorted(random.SystemRandom().choices(range(18), k=20)))
