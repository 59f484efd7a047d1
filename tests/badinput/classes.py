"""Where settings name classes, and what these classes need to be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.badinput.worlds import BASE, BENCHMARK, GENERATOR

PLACES: dict[tuple[str, str], tuple[str, str]] = {
    ("fit", "trainer.callbacks.0"): ("grsap.callbacks", "lightning.pytorch.Callback"),
    ("fit", "model.objectives.0"): ("grsap.objectives", "Objective"),
    ("fit", "model.balancer"): ("grsap.objectives", "Balancer"),
    ("fit", "model.schedule"): ("grsap.training", "LearningRateSchedule"),
    ("fit", "data.task"): ("grsap.data", "ConversationDataModule"),
    ("fit", "data.sampler"): ("grsap.data", "Sampler"),
    ("synthesize", "generator"): ("grsap.generation", "Generator"),
    ("synthesize", "elicitation"): ("grsap.synthesis", "Elicitation"),
    ("synthesize", "survival"): ("grsap.synthesis", "SurvivalRule"),
    ("curate", "filters.0"): ("grsap.curation", "Filter"),
    ("curate", "embedder"): ("grsap.embedding", "Embedder"),
    ("curate", "judge"): ("grsap.judging", "Judge"),
    ("evaluate", "subjects.0"): ("grsap.evaluation", "SubjectSource"),
    ("evaluate", "benchmarks.0"): ("grsap.evaluation", "Benchmark"),
}
"""(verb, setting) -> package and base class of what can be named there."""

GIVEN: dict[str, dict[str, Any]] = {
    "HarmfulnessCheck": {"probes": "probes.jsonl"},
    "SequentialHarmfulnessCheck": {"probes": "probes.jsonl", "max_harmfulness_rate": 0.5, "every_n_steps": 1},
    "JSONLTask": {"train_path": "task.jsonl"},
    "StepsTask": {"train_path": "task.jsonl"},
    "HubTask": {"path": "none/such"},
    "CrossEntropy": {"source": "task"},
    "BenchmarkOverlap": {"files": ["raw.jsonl"]},
    "Perplexity": {"model": GENERATOR},
    "Revision": {"generator": GENERATOR},
    **{f"{name}Judge": {"generator": GENERATOR} for name in ("HarmBench", "LlamaGuard", "Qwen3Guard", "WildGuard")},
    "RubricJudge": {"generator": GENERATOR, "policy": "Nothing harmful."},
    "JudgePanel": {"judges": [{"class_path": "RefusalMatcher"}]},
    "AllRows": {"benchmark": "quickstart_probes"},
    "BenchmarkSpec": BENCHMARK,
    "TaskBenchmark": {"task": {"class_path": "JSONLTask", "init_args": {"train_path": "prompts.csv"}}},
    "RatioSampler": {"replay_ratio": 0.25},
    "StratifiedReplaySampler": {"replay_ratio": 0.25},
    "TransformersGenerator": {"base": BASE},
    "OpenAIGenerator": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "tokenizer": {"path": "model"}},
    "ModelSubject": {"base": BASE},
    "GeneratorSubject": {"generator": GENERATOR},
    "VLLMGenerator": {"base": BASE},
    "RunSubjects": {"run_dir": "run"},
}
"""Class -> arguments that it needs, or that a good input gives."""


def spec_of(kind: type, changed: Mapping[str, Any]) -> dict[str, Any]:
    """A class with its arguments, as a setting names it."""
    return {
        "class_path": f"{kind.__module__}.{kind.__qualname__}",
        "init_args": {**GIVEN.get(kind.__name__, {}), **changed},
    }
