"""Benchmarks, and how answers to them are read."""

from grsap.evaluation.answers import AnswerForm, read_choice, read_math, read_number
from grsap.evaluation.benchmark import Benchmark, BenchmarkItem, LoadedBenchmark
from grsap.evaluation.benchmark_spec import BenchmarkSpec
from grsap.evaluation.spec_file import carried_benchmarks, load_benchmark
from grsap.evaluation.task_benchmark import TaskBenchmark

__all__ = [
    "AnswerForm",
    "Benchmark",
    "BenchmarkItem",
    "BenchmarkSpec",
    "LoadedBenchmark",
    "TaskBenchmark",
    "carried_benchmarks",
    "load_benchmark",
    "read_choice",
    "read_math",
    "read_number",
]
