"""Benchmarks, answer parsing, subjects to evaluate, and results."""

from grsap.evaluation.all_rows import AllRows
from grsap.evaluation.answers import AnswerForm, read_choice, read_math, read_number
from grsap.evaluation.benchmark import Benchmark, BenchmarkItem, LoadedBenchmark
from grsap.evaluation.benchmark_spec import BenchmarkSpec
from grsap.evaluation.benchmark_task import BenchmarkTask
from grsap.evaluation.evaluation import Evaluation
from grsap.evaluation.run_subjects import RunSubjects
from grsap.evaluation.spec_file import carried_benchmarks, load_benchmark
from grsap.evaluation.subjects import Engines, GeneratorSubject, ModelSubject, Subject, SubjectSource
from grsap.evaluation.task_benchmark import TaskBenchmark

__all__ = [
    "AllRows",
    "AnswerForm",
    "Benchmark",
    "BenchmarkItem",
    "BenchmarkSpec",
    "BenchmarkTask",
    "Engines",
    "Evaluation",
    "GeneratorSubject",
    "LoadedBenchmark",
    "ModelSubject",
    "RunSubjects",
    "Subject",
    "SubjectSource",
    "TaskBenchmark",
    "carried_benchmarks",
    "load_benchmark",
    "read_choice",
    "read_math",
    "read_number",
]
