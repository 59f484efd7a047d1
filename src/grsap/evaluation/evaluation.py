"""The settings of an evaluation: which subjects answer what, and who judges the answers."""

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
    """Measures subjects on benchmarks: harm, over-refusal, task scores, each with its interval and against the start.

    Args:
        subjects: who is evaluated: `RunSubjects`, `ModelSubject`, `GeneratorSubject`.
        benchmarks: what they are asked: names of benchmarks that the package carries, spec files, or classes such as
            `TaskBenchmark`.
        judges: who judges answers to safety prompts; by default the refusal matcher. With several, their agreement is
            reported.
        sampling: how safety prompts are answered; greedy by default.
        task_sampling: how the others are answered; by default as `sampling`.
        num_samples: answers a prompt; more than one needs a temperature.
        margin: change for the worse, as a share, that still counts as held.
        max_ratio: how many times what it was a rate on safety prompts may be, and .02 more, to count as held; null for
            any.
        surprise: counts answers to safety prompts as incoherent whose perplexity under a sound model is too high.
        lm_eval_tasks: tasks of the package `lm-eval`, for subjects on this machine.
        replay: replay sets whose overlap with the benchmarks is reported, besides those that runs were trained with.
        reference: name of the subject that those without a start are compared with.
        stages: what to do; what a stage needs of an earlier one must be there.
        seed: of sampling.
        device: of models on this machine; `auto` is the first GPU, or the processor.
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
        """The judges, or the one by default."""
        return [RefusalMatcher()] if self.judges is None else self.judges

    @cached_property
    def questions(self) -> list[Question]:
        """The benchmarks with their items, and how each is answered."""
        benchmarks = [load_benchmark(each) if isinstance(each, str) else each for each in self.benchmarks]
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
        """The subjects; a start that two runs share is one."""
        engines = Engines(self.device, self.max_batch_tokens)
        found = [subject for source in self.subjects for subject in source.checked_subjects(engines, say)]
        return with_reference(merge_starts(found), self.reference)

    def check(self) -> None:
        """Find what is wrong with settings, files and access; loads no weights, and reads no answers.

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
                f"num_samples is {self.num_samples}" + (", and greedy answers are all the same" if is_greedy else ""),
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
        _check_told_apart(self.found_subjects)
        for generator in {id(each.generator): each.generator for each in self.found_subjects}.values():
            for question in questions:
                prompts_of(question, generator)


def merge_starts(subjects: Sequence[Subject]) -> list[Subject]:
    """Subjects in order, with starts that are the same weights as one; the first one's name stays."""
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
    """The same, with those that have no start compared with the subject named `reference`.

    Raises:
        ConfigError: there is no such subject.
    """
    names = [subject.name for subject in subjects]
    if reference is None:
        return list(subjects)
    if reference not in names:
        raise ConfigError(f"reference {reference!r} is no subject", f"Subjects are {', '.join(names)}")
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


def _check_told_apart(subjects: Sequence[Subject]) -> None:
    """Raise ConfigError for two subjects that look alike. Only weights on this machine are identified by content."""
    seen: dict[str, Subject] = {}
    for subject in subjects:
        if isinstance(subject.generator, TransformersGenerator):
            continue
        other = seen.setdefault(subject.hash, subject)
        if other.generator is not subject.generator:
            raise ConfigError(
                f"subjects {other.name} and {subject.name} are the same model by all that is known of them",
                "Give each generator its own revision, or leave one out",
            )


def _check_distinct(setting: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{setting} hold {', '.join(twice)} twice", "Give each a name of its own, or leave one out")
