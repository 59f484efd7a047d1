"""Classes as users write them, whose method returns what a test gives it, and the border that checks each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from grsap.curation import Filter, RowFilter
from grsap.data import ConversationDataModule, Sampler
from grsap.data.conversations import rows_of
from grsap.embedding import Embedder
from grsap.evaluation import Benchmark, BenchmarkItem, LoadedBenchmark
from grsap.evaluation.subjects import SubjectSource
from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings, ScoringRequest
from grsap.judging import Exchange, Judge
from grsap.objectives import Balancer, CrossEntropy, Objective, TokenChunk
from grsap.synthesis import Elicitation, SurvivalRule
from grsap.training.schedules import LearningRateSchedule, learning_rate_factor


class Own:
    """A class of the user's: the method that is tried returns what it was given."""

    def __init__(self, result: Any) -> None:
        self.result = result


class OwnObjective(Own, Objective):
    source, weight, name = "task", 1.0, "own"

    def token_losses(self, chunk: TokenChunk) -> Any:
        return self.result(chunk) if callable(self.result) else self.result


class OwnBalancer(Own, Balancer):
    def weights(self, objectives: Any, previous: Any) -> Any:
        return self.result


class OwnSampler(Own, Sampler):
    def schedule(self, num_task: int, num_replay: int, global_batch_size: int) -> Any:
        return self.result

    def task_order(self, pass_index: int, seed: int, num_rows: int) -> Any:
        return self.result


class OwnSchedule(Own, LearningRateSchedule):
    def factor(self, step: int, num_steps: int) -> Any:
        return self.result


class OwnTask(Own, ConversationDataModule):
    def rows(self, split: Any) -> Any:
        return self.result

    def score(self, response: str, row: Any) -> Any:
        return self.result


class OwnJudge(Own, Judge):
    def judge(self, exchanges: Any) -> Any:
        return self.result


class OwnGenerator(Own, Generator):
    tokenizer = template = None  # type: ignore[assignment]

    def stream(self, requests: Any, settings: Any) -> Any:
        return self.result

    def likelihoods(self, requests: Any) -> Any:
        return self.result


class OwnEmbedder(Own, Embedder):
    def batches(self, texts: Any) -> Any:
        return self.result

    def identity(self) -> dict[str, Any]:
        return {}


class OwnFilter(Own, Filter):
    def decide(self, rows: Any, work: Any) -> Any:
        return self.result


class OwnRowFilter(Own, RowFilter):
    def decide_row(self, row: Any) -> Any:
        return self.result


class OwnBenchmark(Own, Benchmark):
    name, kind = "own", "answer"

    def check(self) -> None: ...

    def load(self) -> Any:
        return self.result

    def mark(self, item: Any, response: str) -> Any:
        return self.result


class OwnSubjects(Own, SubjectSource):
    def subjects(self, engines: Any, say: Any) -> Any:
        return self.result


class OwnElicitation(Own, Elicitation):
    def prompt_ids(self, ask: Any, template: Any) -> Any:
        return self.result

    def read(self, ask: Any, answer: Any, template: Any) -> Any:
        return self.result


class OwnSurvival(Own, SurvivalRule):
    def survivors(self, rows: Any) -> Any:
        return self.result


HIDDEN = torch.ones(3, 4, requires_grad=True)
CHUNK = TokenChunk(HIDDEN, lambda states: states, torch.tensor([0, 1, 2]), torch.zeros(3), torch.arange(3))
OBJECTIVES = [CrossEntropy("task"), CrossEntropy("replay")]
NAMES = [each.name for each in OBJECTIVES]
EXCHANGES = [Exchange("a", "b"), Exchange("c", "d")]
REQUESTS = [GenerationRequest("a", (1,)), GenerationRequest("b", (2,))]
SCORED = [ScoringRequest("a", (1,), (2, 3))]
ITEM = BenchmarkItem("a", [{"role": "user", "content": "b"}])


def answer(name: str, **changes: Any) -> Generation:
    return Generation(**{"id": name, "text": "x", "token_ids": (1,), "finish_reason": "stop", **changes})


def losses(plugin: OwnObjective) -> Any:
    return plugin.checked_losses(CHUNK)


def weights(plugin: OwnBalancer) -> Any:
    return plugin.checked_weights(OBJECTIVES, None)


def schedule(plugin: OwnSampler) -> Any:
    return plugin.checked_schedule(4, 2, 2)


def order(plugin: OwnSampler) -> Any:
    return plugin.checked_order("task", 0, 0, ["a", "b", "c"])


def factor(plugin: OwnSchedule) -> Any:
    return learning_rate_factor(plugin, 1, 4)


def rows(plugin: OwnTask) -> Any:
    return list(rows_of(plugin, "train"))


def score(plugin: OwnTask) -> Any:
    return plugin.checked_score("x", {})


def verdicts(plugin: OwnJudge) -> Any:
    return plugin.checked_verdicts(EXCHANGES)


def stream(plugin: OwnGenerator) -> Any:
    return plugin.generate(REQUESTS, SamplingSettings())


def likelihoods(plugin: OwnGenerator) -> Any:
    return list(plugin.checked_likelihoods(SCORED))


def vectors(plugin: OwnEmbedder) -> Any:
    return plugin.embed(["a", "b"])


def decisions(plugin: OwnFilter) -> Any:
    return list(plugin.checked_decisions(["a", "b"], None))  # type: ignore[arg-type]


def load(plugin: OwnBenchmark) -> Any:
    return plugin.checked_load()


def mark(plugin: OwnBenchmark) -> Any:
    return plugin.checked_mark(ITEM, "x")


def subjects(plugin: OwnSubjects) -> Any:
    return plugin.checked_subjects(None, print)  # type: ignore[arg-type]


def prompt_ids(plugin: OwnElicitation) -> Any:
    return plugin.checked_prompt_ids(None, None)  # type: ignore[arg-type]


def read(plugin: OwnElicitation) -> Any:
    return plugin.checked_read(None, None, None)  # type: ignore[arg-type]


def survivors(plugin: OwnSurvival) -> Any:
    return plugin.checked_survivors([])


def loaded(*items: Any) -> LoadedBenchmark:
    return LoadedBenchmark(list(items), Counter(), {})
