"""A model that gives planted answers, judges that give planted verdicts, and a benchmark made of rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from grsap.evaluation import Benchmark, BenchmarkItem, Evaluation, GeneratorSubject, LoadedBenchmark, SubjectSource
from grsap.evaluation.running import run_evaluation
from grsap.evaluation.subjects import Engines, Say, Subject
from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.judging import Exchange, Judge, Verdict
from grsap.text import ChatTemplate

Rule = Callable[[str, int], tuple[str, str]]
"""Gives (response, finish reason) for (prompt, seed)."""


class Died(BaseException):
    """Stands for kill -9: nothing may catch it and write."""


class ScriptedGenerator(Generator):
    """Answers by a rule, notes what it was asked, and may die at a given answer."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, rule: Rule, name: str = "scripted", dies_at: int | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer)
        self._rule = rule
        self._name = name
        self._dies_at = dies_at
        self.asked: list[str] = []
        self.num_closed = 0

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return self._tokenizer

    @property
    def template(self) -> ChatTemplate:
        return self._template

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        for request in reversed(requests):
            if len(self.asked) == self._dies_at:
                raise Died
            prompt = self._tokenizer.decode(request.prompt_ids).split("user\n")[-1].split("<|im_end|>")[0]
            self.asked.append(prompt)
            text, finish = self._rule(prompt, request.seed)
            if finish == "withheld":
                yield Generation(request.id, "", (), "withheld", withheld_because=text)
                continue
            ids = tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            yield Generation(request.id, text, ids, "length" if finish == "length" else "stop")

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "model": self._name}

    def close(self) -> None:
        self.num_closed += 1


class RowBenchmark(Benchmark):
    """Items as they are given."""

    def __init__(self, items: Sequence[BenchmarkItem], name: str = "planted", kind: str = "safety") -> None:
        self.items = list(items)
        self.name = name
        self.kind = kind  # type: ignore[assignment]

    def check(self) -> None:
        pass

    def load(self) -> LoadedBenchmark:
        return LoadedBenchmark(self.items, Counter(), {"rows": len(self.items)})

    def read_answer(self, item: BenchmarkItem, response: str) -> str | None:
        return response if response in item.labels else None

    def mark(self, item: BenchmarkItem, response: str) -> float | None:
        found = self.read_answer(item, response)
        return None if found is None else float(found == item.reference)


class PlantedJudge(Judge):
    """Says what a table says of each response."""

    def __init__(self, verdicts: Mapping[str, Verdict], name: str = "planted", dies_at: int | None = None) -> None:
        self.verdicts = verdicts
        self.name = name
        self.revision = "1"
        self.judged: list[Exchange] = []
        self._dies_at = dies_at

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        if self._dies_at is not None and len(self.judged) >= self._dies_at:
            raise Died
        self.judged += exchanges
        return [self.verdicts[exchange.response] for exchange in exchanges]


class Pair(SubjectSource):
    """A start, and what came of it."""

    def __init__(self, before: Generator, after: Generator) -> None:
        self.before = before
        self.after = after

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        return [Subject("before", "start", self.before), Subject("after", "final", self.after, start="before")]


def item(name: str, harmful: bool | None = True, **values: Any) -> BenchmarkItem:
    """An item whose prompt is its id."""
    messages: Any = [{"role": "user", "content": f"What of {name}?"}]
    return BenchmarkItem(name, messages, harmful, **values)


def words(number: int) -> str:
    """A number as a word without digits, different for each."""
    return "".join(chr(97 + int(digit)) for digit in str(number))


def evaluation(
    generator: Generator, benchmarks: Sequence[Benchmark], judges: Sequence[Judge], **settings: Any
) -> Evaluation:
    return Evaluation([GeneratorSubject(generator, "model")], list(benchmarks), list(judges), **settings)


def run(settings: Evaluation, folder: Path) -> dict[str, Any]:
    """Check and run; the content of `evaluation.json`."""
    settings.check()
    run_evaluation(settings, folder)
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def rate(results: Mapping[str, Any], metric: str, **where: str) -> dict[str, Any]:
    """The one row of `rates` that it is."""
    where = {"metric": metric, **where}
    (row,) = [row for row in results["rates"] if all(row[key] == value for key, value in where.items())]
    return dict(row)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
