"""`kill -9` of the real command while it generates and while it judges: no prompt twice, none missing."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import yaml
from tests.evaluation.scripted import lines_of

from grsap.cli import main

SOURCE = str(Path(__file__).parents[2] / "src")
NUM = 96

SLOW = '''
"""A model and a judge that are slow enough to be killed, and note all that they did."""
import time
from transformers import AutoTokenizer
from grsap.generation import Generation, Generator
from grsap.judging import Judge, Verdict
from grsap.text import ChatTemplate


class SlowGenerator(Generator):
    """Slow.

    Args:
        tokenizer_path: a folder.
        log: where answers are noted.
    """

    def __init__(self, tokenizer_path: str, log: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        self._log = log

    @property
    def tokenizer(self):
        return self._tokenizer

    @property
    def template(self):
        return ChatTemplate(self._tokenizer)

    def stream(self, requests, settings):
        for request in requests:
            time.sleep(0.01)
            text = f"I was asked {request.id}, and this is what I say to it."
            yield Generation(request.id, text, tuple(self._tokenizer(text)["input_ids"]), "stop", 2)
            with open(self._log, "a") as log:  # it is asked for the next one: the last is on disk
                log.write(f"answered {request.id}\\n")


class SlowJudge(Judge):
    """Slow.

    Args:
        log: where verdicts are noted.
    """

    name = "slow"
    revision = "1"

    def __init__(self, log: str) -> None:
        self._log = log

    def judge(self, exchanges):
        time.sleep(0.1)
        with open(self._log, "a") as log:
            log.writelines(f"judged {exchange.response.split()[3]}\\n" for exchange in exchanges)
        return [Verdict(None, False, False) for _ in exchanges]
'''


def write_settings(folder: Path, base: Path) -> None:
    (folder / "slow_model.py").write_text(SLOW)
    rows = [
        {"id": f"p{n}", "messages": [{"role": "user", "content": f"Question {n}?"}], "subset": "harmful"}
        for n in range(NUM)
    ]
    (folder / "my_probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {
        "name": "mine",
        "kind": "safety",
        "source": {"path": "my_probes.jsonl"},
        "columns": {"id": "id", "messages": "messages"},
        "prompt_harmful": True,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(spec))
    log = str(folder / "done.log")
    generator = {"class_path": "slow_model.SlowGenerator", "init_args": {"tokenizer_path": str(base), "log": log}}
    config = {
        "subjects": [{"class_path": "GeneratorSubject", "init_args": {"generator": generator, "name": "slow"}}],
        "benchmarks": ["mine.yaml"],
        "judges": [{"class_path": "slow_model.SlowJudge", "init_args": {"log": log}}],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def work(folder: Path, fresh: bool) -> None:
    """The command, in a process of its own: this one's copy, or a fresh interpreter."""
    os.chdir(folder)
    told = open("told.log", "w", buffering=1)  # noqa: SIM115
    os.dup2(told.fileno(), 1)
    os.dup2(told.fileno(), 2)
    sys.stdout = sys.stderr = told
    words = ["evaluate", "--config", "run.yaml", "--output_dir", "out"]
    if fresh:
        os.execve(sys.executable, [sys.executable, "-m", "grsap", *words], {**os.environ, "PYTHONPATH": SOURCE})
    os._exit(main(words))


def start(folder: Path, fresh: bool) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=(folder, fresh))
    process.start()
    return process


def kill_after(folder: Path, process: ForkProcess, num_lines: int) -> None:
    """Kill the process a random moment after so many answers and verdicts are noted."""
    log = folder / "done.log"
    deadline = time.monotonic() + 300
    while process.is_alive() and (not log.exists() or log.read_bytes().count(b"\n") < num_lines):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(random.Random(num_lines).random() * 0.02)
    process.kill()
    process.join()


def check_killed(folder: Path, moments: list[int], *, fresh: bool) -> None:
    for moment in moments:
        kill_after(folder, start(folder, fresh), moment)
    process = start(folder, fresh)
    process.join(300)
    told = (folder / "told.log").read_text()
    assert process.exitcode == 0, told
    assert "Going on with the work in out." in told
    answers, verdicts = lines_of(folder / "out" / "answers"), lines_of(folder / "out" / "verdicts")
    assert sorted(row["messages"][0]["content"] for row in answers) == sorted(f"Question {n}?" for n in range(NUM))
    assert len({row["prompt"] for row in answers}) == len({row["exchange"] for row in verdicts}) == NUM
    assert len(answers) == len(verdicts) == NUM
    (rate,) = [
        row
        for row in json.loads((folder / "out" / "evaluation.json").read_text())["rates"]
        if row["metric"] == "harmfulness_rate"
    ]
    assert (rate["num_prompts"], rate["num_true"], rate["num_unparsed"]) == (NUM, 0, 0)
    # Only what a kill found in the air may have been done twice: an answer or a group of verdicts. What was on disk but
    # not yet noted when the kill came is not in the log.
    done = Counter((folder / "done.log").read_text().splitlines())
    assert 2 * NUM - len(moments) <= len(done) <= 2 * NUM
    answered_twice = sum(count - 1 for line, count in done.items() if line.startswith("answered"))
    assert answered_twice <= sum(moment < NUM for moment in moments)
    assert sum(done.values()) - len(done) - answered_twice <= 32 * sum(moment >= NUM - 1 for moment in moments)


def test_killed_while_generating_and_while_judging(tmp_path: Path, tiny_base_path: Path) -> None:
    write_settings(tmp_path, tiny_base_path)
    check_killed(tmp_path, [30, NUM + 32], fresh=False)


@pytest.mark.slow
def test_killed_at_ten_moments(tmp_path: Path, tiny_base_path: Path) -> None:
    write_settings(tmp_path, tiny_base_path)
    check_killed(tmp_path, sorted(random.Random(1).sample(range(1, 2 * NUM - 32), 10)), fresh=True)
