"""The settings of an evaluation: subjects, benchmarks, judges and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from grsap.console import say
from grsap.data.replay import ReplayDataModule
from grsap.errors import ConfigError
from grsap.evaluation.benchmark import Benchmark
from grsap.evaluation.harness import HarnessTasks
from grsap.evaluation.perplexity_check import PerplexityCheck
from grsap.evaluation.prompts import Question, prompts_of
from grsap.evaluation.spec_file import load_benchmark
from grsap.evaluation.subjects import Engines, Subject, SubjectSource
from grsap.generation import TransformersGenerator
from grsap.generation.base import SamplingSettings
from grsap.judging import Judge, RefusalMatcher
from grsap.metrics.paired import MAX_RATIO, check_max_ratio

StageName = Literal["generate", "judge", "summarise"]
SAMPLING = SamplingSettings(max_new_tokens=512)


@dataclass(frozen=True)
class Evaluation:
    """Measures harm, over-refusal and task scores of subjects, with intervals and changes from the baseline.

    Args:
        subjects: what is evaluated: `RunSubjects`, `ModelSubject`, `GeneratorSubject`.
        benchmarks: names of benchmarks in the package, spec files, or classes such as `TaskBenchmark`.
        judges: of answers to safety prompts; by default the refusal matcher. With several, their agreement is
            reported.
        sampling: of answers to safety prompts; greedy by default.
        task_sampling: of all other answers; by default as `sampling`.
        num_samples: answers per prompt; more than one needs a temperature above 0.
        margin: acceptable change for the worse, as a share in (0, 1).
        max_ratio: a rate on safety prompts is held only up to this multiple of its baseline plus .02, in [1, 100]; null
            for no such bound.
        surprise: counts answers to safety prompts with high perplexity under a reference model as incoherent.
        lm_eval_tasks: tasks of the package `lm-eval`, for subjects on this machine.
        replay: replay sets whose overlap with the benchmarks is reported, in addition to those of the runs.
        reference: name of the subject that serves as the baseline of those without one.
        stages: to run; the results of earlier stages must exist.
        seed: of sampling.
        device: of models on this machine; `auto` is the first GPU, or the CPU.
        max_batch_tokens: see `TransformersGenerator`.
    """

    subjects: list[SubjectSource]
    benchmarks: list[str | Benchmark]
    judges: list[Judge] | None = None
    sampling: SamplingSettings = SAMPLING
    task_sampling: SamplingSettings | None = None
    num_samples: int = 1
    margin: float = 0.05
    max_ratio: float | None = MAX_RATIO
    surprise: PerplexityCheck | None = None
    lm_eval_tasks: HarnessTasks | None = None
    replay: list[str] | None = None
    reference: str | None = None
    stages: tuple[StageName, ...] = ("generate", "judge", "summarise")
    seed: int = 0
    device: str = "auto"
    max_batch_tokens: int | None = None

    @cached_property
    def chosen_judges(self) -> list[Judge]:
        """The judges, or the default one."""
        return [RefusalMatcher()] if self.judges is None else self.judges

    @cached_property
    def questions(self) -> list[Question]:
        """The benchmarks with their items and sampling."""
        benchmarks = [load_benchmark(each) if isinstance(each, str) else each for each in self.benchmarks]
        for benchmark in benchmarks:
            benchmark.check_members()
        _check_distinct("benchmarks", [benchmark.name for benchmark in benchmarks])
        for benchmark in benchmarks:
            benchmark.check()
        by_kind = {"safety": self.sampling}
        return [
            Question(
                benchmark, benchmark.checked_load(), by_kind.get(benchmark.kind, self.task_sampling or self.sampling)
            )
            for benchmark in benchmarks
        ]

    @cached_property
    def found_subjects(self) -> list[Subject]:
        """The subjects; runs with the same baseline share one."""
        engines = Engines(self.device, self.max_batch_tokens)
        found = [subject for source in self.subjects for subject in source.checked_subjects(engines, say)]
        return with_reference(merge_starts(found), self.reference)

    def check(self) -> None:
        """Check settings, files and access; loads no weights, and reads no answers.

        Raises:
            UserError: names the setting, file or item.
        """
        self.sampling.check()
        if self.task_sampling is not None:
            self.task_sampling.check()
        if not self.subjects or not self.benchmarks or not self.chosen_judges or not self.stages:
            raise ConfigError("subjects, benchmarks, judges or stages is empty", "Give at least one of each")
        if self.surprise is not None:
            self.surprise.check()
        if self.lm_eval_tasks is not None:
            self.lm_eval_tasks.check()
        if not 0 < self.margin < 1:
            raise ConfigError(f"margin is {self.margin}", "Give a share between 0 and 1, such as 0.05")
        check_max_ratio(self.max_ratio, "max_ratio")
        is_greedy = any((each or self.sampling).temperature == 0 for each in (self.sampling, self.task_sampling))
        if self.num_samples < 1 or (self.num_samples > 1 and is_greedy):
            raise ConfigError(
                f"num_samples is {self.num_samples}"
                + (", and greedy answers are all the same" if self.num_samples > 1 else ""),
                "Give 1, or a temperature above 0",
            )
        _check_distinct("judges", [judge.name for judge in self.chosen_judges])
        for judge in self.chosen_judges:
            judge.prepare()
        for path in self.replay or ():
            ReplayDataModule(path).setup("fit")
        questions = self.questions
        _check_distinct("subjects", [subject.name for subject in self.found_subjects])
        for subject in self.found_subjects if self.lm_eval_tasks is not None else ():
            _check_local(subject)
        _check_distinguishable(self.found_subjects)
        for generator in {id(each.generator): each.generator for each in self.found_subjects}.values():
            for question in questions:
                prompts_of(question, generator)


def merge_starts(subjects: Sequence[Subject]) -> list[Subject]:
    """Merge baselines with equal weights into the first of them; the order of subjects stays."""
    kept: list[Subject] = []
    renamed: dict[str, str] = {}
    for subject in subjects:
        same = next(
            (each for each in kept if subject.role == each.role == "start" and each.identity == subject.identity), None
        )
        if same is not None:
            renamed[subject.name] = same.name
        else:
            kept.append(subject)
    return [subject.with_start(renamed.get(subject.start or "", subject.start)) for subject in kept]


def with_reference(subjects: Sequence[Subject], reference: str | None) -> list[Subject]:
    """Set `reference` as the baseline of models without one.

    Raises:
        ConfigError: there is no such subject.
    """
    names = [subject.name for subject in subjects]
    if reference is None:
        return list(subjects)
    if reference not in names:
        raise ConfigError(f"reference {reference!r} is not a subject", f"Subjects are {', '.join(names)}")
    return [
        subject.with_start(reference)
        if subject.start is None and subject.role == "model" and subject.name != reference
        else subject
        for subject in subjects
    ]


def _check_local(subject: Subject) -> None:
    try:
        _ = subject.local_generator
    except ConfigError as error:
        raise ConfigError(f"lm_eval_tasks: {error.problem}", f"{error.remedy}, or leave lm_eval_tasks out") from error


def _check_distinguishable(subjects: Sequence[Subject]) -> None:
    """Raise ConfigError for two generators with the same identity, which would share stored answers.

    Only weights on this machine are identified by their content.
    """
    seen: dict[str, Subject] = {}
    for subject in subjects:
        if isinstance(subject.generator, TransformersGenerator):
            continue
        other = seen.setdefault(subject.hash, subject)
        if other.generator is not subject.generator:
            raise ConfigError(
                f"subjects {other.name} and {subject.name} have the same identity, but not the same generator",
                "Give each generator its own revision, or leave one out",
            )


def _check_distinct(setting: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{setting} hold {', '.join(twice)} twice", "Give each a name of its own, or leave one out")
