"""Benchmark items encoded as prompts of a generation backend."""

from __future__ import annotations

from dataclasses import dataclass

from grsap.errors import DataError
from grsap.evaluation.benchmark import Benchmark, BenchmarkItem, LoadedBenchmark
from grsap.files import hash_json
from grsap.generation import Generator, SamplingSettings


@dataclass(frozen=True)
class Question:
    """A benchmark, its items and their sampling.

    Attributes:
        benchmark: scores answers, unless they are judged.
        loaded: its items.
        sampling: of answers to them.
    """

    benchmark: Benchmark
    loaded: LoadedBenchmark
    sampling: SamplingSettings

    @property
    def items(self) -> list[BenchmarkItem]:
        """In the order of the source."""
        return self.loaded.items


@dataclass(frozen=True)
class Prompt:
    """An item with all token ids of its prompt, and their hash, the key of stored answers."""

    item: BenchmarkItem
    ids: tuple[int, ...]
    hash: str


def prompts_of(question: Question, generator: Generator) -> list[Prompt]:
    """Encode the items of a benchmark in a backend's chat template.

    Raises:
        DataError: a prompt and its answer exceed the context length; names benchmark and item.
        ModelError: the model has no such token id.
        TemplateError: the template rejects a conversation.
    """
    new = question.sampling.max_new_tokens
    limit = int(generator.tokenizer.model_max_length) - new
    prompts = []
    for item in question.items:
        ids = tuple(generator.template.prompt_ids(item.messages))
        if len(ids) > limit:
            raise DataError(
                f"item {item.id} of benchmark {question.benchmark.name} has {len(ids)} tokens, and the model reads "
                f"{limit} before an answer of {new}",
                "Leave the item out, or lower max_new_tokens",
            )
        generator.check_prompt(ids, f"item {item.id} of benchmark {question.benchmark.name}", new)
        prompts.append(Prompt(item, ids, hash_json(ids)))
    return prompts


def sampling_hash(sampling: SamplingSettings, seed: int) -> str:
    """Return the hash of what determines an answer besides weights and prompt; the seed counts only when sampling."""
    greedy = sampling.temperature == 0
    drawn = None if greedy else [sampling.temperature, sampling.top_p, seed]
    return hash_json([sampling.max_new_tokens, drawn])


def request_seed(seed: int, prompt_hash: str, sample: int) -> int:
    """Return the seed of one answer, equal for all subjects and independent of other requests."""
    return int(hash_json(["evaluate", seed, prompt_hash, sample]), 16) % 2**63
