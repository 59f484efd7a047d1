"""A task's rows as a benchmark."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from grsap.data.conversation import ConversationDataModule
from grsap.data.conversations import place_of, read_conversations
from grsap.errors import ConfigError
from grsap.evaluation.benchmark import Benchmark, BenchmarkItem, Kind, LoadedBenchmark
from grsap.files import hash_json
from grsap.records import Split, check_messages


class TaskBenchmark(Benchmark):
    """The rows of a task that can score answers.

    Args:
        task: must implement `score`.
        split: whose rows are prompts.
        name: by default the task's class in snake case and the split.
    """

    kind: Kind = "answer"

    def __init__(self, task: ConversationDataModule, split: Split = "test", name: str | None = None) -> None:
        self.task = task
        self.split: Split = split
        self.name = name or f"{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', type(task).__name__).lower()}-{split}"
        self._rows: dict[str, Any] = {}

    def check(self) -> None:
        """Check that the task scores answers."""
        if not self.task.has_score:
            raise ConfigError(
                f"the task {type(self.task).__name__} cannot score answers",
                "Implement its method score, or set exact_match if it has that",
            )

    def load(self) -> LoadedBenchmark:
        """Read the split's rows."""
        self.check()
        self.task.prepare_data()
        self.task.setup("test")
        items: list[BenchmarkItem] = []
        for number, row in enumerate(read_conversations(self.task, self.split, required=True), 1):
            messages = row.get("messages")
            check_messages(messages, path=place_of(self.task, self.split), line=number)
            assert messages is not None
            row_id = str(row.get("id") or f"{number}-{hash_json(messages)[:12]}")
            self._rows[row_id] = row
            items.append(BenchmarkItem(row_id, messages[:-1], reference=messages[-1]["content"]))
        if items:  # check the score before answers are generated
            self.mark(items[0], str(items[0].reference))
        return LoadedBenchmark(items, Counter(), {"task": type(self.task).__name__, "split": self.split})

    def mark(self, item: BenchmarkItem, response: str) -> float | None:
        """Return the task's score in [0, 1]."""
        return self.task.checked_score(response, self._rows[item.id])
