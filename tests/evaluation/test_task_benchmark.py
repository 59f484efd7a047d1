from __future__ import annotations

import json
from pathlib import Path

import pytest

from grsap.data import ExtractionTask, JSONLTask
from grsap.errors import ConfigError, DataError
from grsap.evaluation import TaskBenchmark


def write(folder: Path, rows: list[dict]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_task_s_score_is_the_mark(tmp_path: Path) -> None:
    path = write(tmp_path, [{"prompt": "2+2?", "response": "4", "id": "sum"}, {"prompt": "1+1?", "response": "2"}])
    benchmark = TaskBenchmark(JSONLTask(path, test_path=path, exact_match=True))
    benchmark.check()
    loaded = benchmark.load()
    first, second = loaded.items
    assert (benchmark.name, first.id, first.reference) == ("jsonltask-test", "sum", "4")
    assert first.messages == [{"role": "user", "content": "2+2?"}]
    assert [benchmark.mark(first, text) for text in (" 4 ", "5")] == [1.0, 0.0]
    assert benchmark.mark(second, "2") == 1.0
    assert second.id.startswith("2-")
    assert loaded.describe()["num_items"] == 2


def test_the_quickstart_s_task() -> None:
    task = ExtractionTask(num_test=5)
    benchmark = TaskBenchmark(task, name="orders")
    items = benchmark.load().items
    assert len(items) == 5
    assert all(benchmark.mark(item, item.reference or "") == 1.0 for item in items)
    assert benchmark.mark(items[0], items[1].reference or "") < 1.0


def test_a_task_that_cannot_mark_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [{"prompt": "a", "response": "b"}])
    with pytest.raises(ConfigError, match="JSONLTask cannot score answers"):
        TaskBenchmark(JSONLTask(path, test_path=path)).check()


def test_a_split_without_rows_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, [{"prompt": "a", "response": "b"}])
    with pytest.raises(DataError, match=r"JSONLTask.rows\('test'\) gives no row"):
        TaskBenchmark(JSONLTask(path, exact_match=True)).load()
