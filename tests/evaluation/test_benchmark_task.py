"""What is learned is asked as it will be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.evaluation.test_carried_benchmarks import ROWS

from grsap.errors import ConfigError
from grsap.evaluation import BenchmarkTask


def task_of(name: str, folder: Path) -> BenchmarkTask:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump({"extends": name, "source": {"path": str(folder / "rows.jsonl")}}))
    return BenchmarkTask(str(spec))


ANSWERS = {"gsm8k": "6 x 7 = 42\n#### 42", "hellaswag": "C", "winogrande": "A", "medqa": "B", "sst2": "positive"}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_answer_is_the_label_or_the_whole_solution(name: str, tmp_path: Path) -> None:
    task = task_of(name, tmp_path)
    (row,) = task.rows("train")
    (item,) = task.spec.load().items
    assert row["messages"][:-1] == item.messages
    assert row["messages"][-1] == {"role": "assistant", "content": ANSWERS[name]}
    assert task.score(ANSWERS[name], task.rows("test")[0]) == 1.0
    assert task.score("I cannot say.", task.rows("test")[0]) == 0.0
    assert task.rows("validation") == []


def test_train_names_and_splits() -> None:
    task = BenchmarkTask("winogrande", train_names=["winogrande_xl"])
    train, test = task._of("train").source, task._of("test").source
    assert (train.names, train.splits) == (["winogrande_xl"], ["train"])
    assert (test.names, test.splits) == (["winogrande_debiased"], ["validation"])


def test_safety_prompts_are_no_task() -> None:
    with pytest.raises(ConfigError, match="benchmark beavertails has no right answers"):
        BenchmarkTask("beavertails")
