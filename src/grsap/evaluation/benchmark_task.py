"""A benchmark's training rows as a task, with the prompts of the evaluation."""

from __future__ import annotations

from dataclasses import replace

from grsap.data.columns import cell_text
from grsap.data.conversation import ConversationDataModule, Row
from grsap.errors import ConfigError, DataError
from grsap.evaluation.benchmark_spec import BenchmarkSpec
from grsap.evaluation.spec_file import load_benchmark
from grsap.records import Split


class BenchmarkTask(ConversationDataModule):
    """Training rows with the prompts of a benchmark, and its own rows as the test split.

    The target is the right label (a letter, or a word if the benchmark has words), or for benchmarks of free answers
    the whole text of the reference column, such as a worked solution. Rows without a prompt are left out.

    Args:
        benchmark: name of a benchmark in the package, or a spec file.
        train_names: configurations of the data set to learn from; by default the benchmark's.
        train_splits: its splits to learn from.

    Raises:
        ConfigError: it is a benchmark of safety prompts, which has no right answers.
    """

    def __init__(
        self, benchmark: str, train_names: list[str] | None = None, train_splits: list[str] | None = None
    ) -> None:
        super().__init__()
        self.spec = load_benchmark(benchmark)
        if self.spec.kind == "safety":
            raise ConfigError(f"benchmark {benchmark} has no right answers", "Give one of a task, such as gsm8k")
        self.train_names = train_names
        self.train_splits = train_splits or ["train"]
        self._rows: dict[Split, list[Row]] = {}

    def prepare_data(self) -> None:
        """Check that the data set is available."""
        self._of("train").check()

    def rows(self, split: Split) -> list[Row]:
        """Return rows with `messages` and `item`; reads them once.

        Raises:
            DataError: the data set cannot be read, or a row does not fit the spec.
        """
        if split == "validation":
            return []
        if split not in self._rows:
            self._rows[split] = self._read(self._of(split))
            if not self._rows[split]:
                raise DataError(f"benchmark {self.spec.name} has no row to {split} on", "Check its source and splits")
        return self._rows[split]

    def score(self, response: str, row: Row) -> float:
        """Return the benchmark's score in [0, 1]; 0 for an unparsed answer."""
        return self.spec.mark(row["item"], response) or 0.0

    def _of(self, split: Split) -> BenchmarkSpec:
        if split == "test":
            return self.spec
        source = self.spec.source
        return replace(
            self.spec, source=replace(source, names=self.train_names or source.names, splits=self.train_splits)
        )

    def _read(self, spec: BenchmarkSpec) -> list[Row]:
        rows: list[Row] = []
        for place, row in spec.source.rows():
            item = spec.item(row, place)
            if isinstance(item, str):
                continue
            answer = item.reference
            if spec.answer is not None:
                answer = cell_text(row, spec.columns["reference"], place, "reference")
            messages = [*item.messages, {"role": "assistant", "content": str(answer).strip()}]
            rows.append({"id": f"{item.id}-{place.line}", "messages": messages, "item": item})
        return rows
