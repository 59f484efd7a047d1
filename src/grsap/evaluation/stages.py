"""The stages generate, judge and summarise; each computes only what is missing in the folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from grsap.console import say
from grsap.errors import RunFolderError
from grsap.evaluation.agreement import agreements
from grsap.evaluation.choices import LabelLikelihoods
from grsap.evaluation.evaluation import Evaluation
from grsap.evaluation.generating import Answer, Answers
from grsap.evaluation.outcomes import num_withheld, outcomes_of
from grsap.evaluation.output import read_cost, write_manifest, write_results
from grsap.evaluation.overlap import overlaps
from grsap.evaluation.perplexity_check import Perplexities
from grsap.evaluation.prompts import Prompt, Question
from grsap.evaluation.result_logs import Cost
from grsap.evaluation.results import ByMeasure, Found, comparisons, conclusions, rates
from grsap.evaluation.subjects import Subject
from grsap.evaluation.verdicts import Verdicts
from grsap.judging import Judge, Verdict
from grsap.measurement.outcomes import Measure, Surprising, incoherence

BY_LIKELIHOOD = Measure("likelihood", "task_score", "all")


@dataclass(frozen=True)
class Measured:
    """Outcomes of a subject's answers to a benchmark, with these answers and their verdicts."""

    subject: Subject
    question: Question
    answers: Mapping[str, list[Answer]]
    verdicts: Mapping[Judge, Mapping[str, list[Verdict]]]
    surprising: Surprising
    outcomes: ByMeasure


class Stages:
    """Runs the stages of an evaluation in its folder.

    Args:
        settings: of the evaluation.
        folder: created if it does not exist.
    """

    def __init__(self, settings: Evaluation, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.folder = folder
        self.answers = Answers(folder, settings.questions, settings.num_samples, settings.seed)
        self.likelihoods = LabelLikelihoods(folder)
        self.verdicts = Verdicts(folder)
        self.perplexities = None if settings.surprise is None else Perplexities(folder, settings.surprise)
        self._earlier = read_cost(folder)

    @property
    def subjects(self) -> list[Subject]:
        """In the order of the settings."""
        return self.settings.found_subjects

    @property
    def judged(self) -> list[Question]:
        """The benchmarks whose answers are judged."""
        return [question for question in self.settings.questions if question.benchmark.kind == "safety"]

    @property
    def scored(self) -> list[Question]:
        """The benchmarks with choices, which are also scored by likelihood."""
        return [question for question in self.settings.questions if question.benchmark.kind == "multiple_choice"]

    def generate(self) -> None:
        """Generate missing answers, grouped by base so that its weights load once."""
        order = {id(subject.generator): place for place, subject in reversed([*enumerate(self.subjects)])}
        by_engine = sorted(self.subjects, key=lambda subject: order[id(subject.generator)])
        self._check_ready()
        for _, group in groupby(by_engine, key=lambda subject: id(subject.generator)):
            subjects = list(group)
            with closing(subjects[0].generator):
                for subject in subjects:
                    with self._noted():
                        self.answers.generate(subject)
                        if subject.gives_likelihoods:
                            self.likelihoods.compute(subject, self._choices(subject))
                        if self.settings.lm_eval_tasks is not None:
                            self.settings.lm_eval_tasks.evaluate(subject, self.folder)

    def _check_ready(self) -> None:
        """Check that all servers answer before the first answer is generated; contacts none if nothing is missing."""
        unfinished = [subject for subject in self.subjects if not self.answers.is_complete(subject)]
        for subject in unfinished:
            subject.generator.check_ready()
        if unfinished and self.judged and "judge" in self.settings.stages:
            for judge in self.settings.chosen_judges:
                judge.check_ready()

    def judge(self) -> None:
        """Judge answers without a verdict; equal exchanges are judged once.

        Raises:
            DataError: answers are missing.
        """
        answers = [answer for _, _, found in self._answered(self.judged) for each in found.values() for answer in each]
        if self.perplexities is not None:
            self.perplexities.compute(answers)
        for judge in self.settings.chosen_judges if self.judged else ():
            with self._noted(), closing(judge):
                self.verdicts.judge(judge, answers)

    def summarise(self) -> dict[str, Any]:
        """Compute rates, comparisons and conclusions, write and return them.

        Raises:
            DataError: answers or verdicts are missing.
        """
        found: dict[str, dict[str, ByMeasure]] = {subject.name: {} for subject in self.subjects}
        reasons: list[dict[str, Any]] = []
        unanswered: list[dict[str, Any]] = []
        agreed: list[dict[str, Any]] = []
        for each in self._measured():
            name, question = each.subject.name, each.question
            found[name][question.benchmark.name] = each.outcomes
            agreed += agreements(name, question.benchmark.name, each.verdicts)
            if withheld := num_withheld(each.answers):
                unanswered.append({"subject": name, "benchmark": question.benchmark.name, "num_by_reason": withheld})
            if question in self.judged:
                broken = incoherence(question.items, each.answers, each.surprising, list(each.verdicts.values()))
                reasons.append(_reasons(each.subject, question, broken))
        results = self._results(found) | {"agreement": agreed, "incoherence": reasons, "unanswered": unanswered}
        results["overlap"] = self._overlap()
        results["lm_eval"] = self._harness()
        write_results(self.folder, results)
        self.write_manifest("complete")
        return results

    def outcomes(self) -> dict[str, dict[str, ByMeasure]]:
        """Return outcomes by subject, benchmark and measure, from the stored answers and verdicts.

        Raises:
            DataError: answers or verdicts are missing.
        """
        found: dict[str, dict[str, ByMeasure]] = {subject.name: {} for subject in self.subjects}
        for each in self._measured():
            found[each.subject.name][each.question.benchmark.name] = each.outcomes
        return found

    def close(self) -> None:
        """Close all files."""
        for logs in (self.answers, self.likelihoods, self.verdicts, self.perplexities):
            if logs is not None:
                logs.close()

    def write_manifest(self, status: str) -> None:
        """Write the manifest: subjects, benchmarks, judges, sampling and cost; no text."""
        settings = self.settings
        write_manifest(
            self.folder,
            {
                "status": status,
                "sampling": asdict(settings.sampling),
                "task_sampling": asdict(settings.task_sampling or settings.sampling),
                "num_samples": settings.num_samples,
                "seed": settings.seed,
                "margin": settings.margin,
                "max_ratio": settings.max_ratio,
                "subjects": [self._describe(subject) for subject in self.subjects],
                "benchmarks": [
                    {"name": question.benchmark.name, **question.loaded.describe()} for question in settings.questions
                ],
                "judges": [
                    {**judge.identity(), "file": self._relative(self.verdicts.log(judge).path)}
                    for judge in settings.chosen_judges
                ],
                "cost": self._cost(),
            },
        )

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Write the manifest after the block; if the block fails, only its own error is reported."""
        try:
            yield
        except BaseException:
            with suppress(OSError, RunFolderError):
                self.write_manifest("unfinished")
            raise
        self.write_manifest("unfinished")

    def _answered(self, questions: list[Question]) -> Iterator[tuple[Subject, Question, dict[str, list[Answer]]]]:
        for subject in self.subjects:
            for question in questions:
                yield subject, question, self.answers.of(subject, question)

    def _measured(self) -> Iterator[Measured]:
        for subject, question, answers in self._answered(self.settings.questions):
            verdicts = self._verdicts(answers) if question in self.judged else {}
            surprising = self._surprising(question, answers)
            outcomes = outcomes_of(question, answers, verdicts, surprising)
            if question in self.scored and subject.gives_likelihoods:
                prompts = self.answers.prompts(question, subject.generator)
                outcomes[BY_LIKELIHOOD] = self.likelihoods.scores(subject, question, prompts)
            yield Measured(subject, question, answers, verdicts, surprising, outcomes)

    def _choices(self, subject: Subject) -> list[Prompt]:
        return [prompt for each in self.scored for prompt in self.answers.prompts(each, subject.generator)]

    def _overlap(self) -> list[dict[str, Any]]:
        paths = [subject.replay_path for subject in self.subjects if subject.replay_path is not None]
        return overlaps([*paths, *(self.settings.replay or [])], self.settings.questions, say)

    def _harness(self) -> list[dict[str, Any]]:
        tasks = self.settings.lm_eval_tasks
        return [] if tasks is None else [row for each in self.subjects for row in tasks.results(each, self.folder)]

    def _surprising(self, question: Question, answers: Mapping[str, list[Answer]]) -> Surprising:
        if self.perplexities is None or question not in self.judged:
            return {}
        return self.perplexities.surprising(answers)

    def _verdicts(self, answers: Mapping[str, list[Answer]]) -> dict[Judge, dict[str, list[Verdict]]]:
        return {judge: self.verdicts.of(judge, answers) for judge in self.settings.chosen_judges}

    def _results(self, found: Found) -> dict[str, Any]:
        proxies = [judge.name for judge in self.settings.chosen_judges if judge.is_proxy]
        compared = comparisons(self.subjects, found, self.settings.margin, proxies, self.settings.max_ratio)
        return {
            "margin": self.settings.margin,
            "max_ratio": self.settings.max_ratio,
            "num_samples": self.settings.num_samples,
            "subjects": [
                {
                    **{name: getattr(subject, name) for name in ("name", "role", "run", "step", "start")},
                    "hash": subject.hash,
                    "answers": self._files(subject),
                }
                for subject in self.subjects
            ],
            "benchmarks": [
                {"name": question.benchmark.name, "kind": question.benchmark.kind, **question.loaded.describe()}
                for question in self.settings.questions
            ],
            "judges": [
                {
                    "name": judge.name,
                    "revision": judge.revision,
                    "is_proxy": judge.is_proxy,
                    "verdicts": self._relative(self.verdicts.log(judge).path),
                }
                for judge in self.settings.chosen_judges
            ],
            "rates": rates(self.subjects, found),
            "comparisons": compared,
            "conclusions": conclusions(self.subjects, compared),
        }

    def _describe(self, subject: Subject) -> dict[str, Any]:
        return {
            "name": subject.name,
            "identity": subject.identity,
            "engine": _engine(subject),
            "answers": self._files(subject),
        }

    def _files(self, subject: Subject) -> dict[str, str]:
        """Return by benchmark the file of the answers, relative to the folder."""
        return {
            question.benchmark.name: self._relative(self.answers.log(subject, question.sampling).path)
            for question in self.settings.questions
        }

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _cost(self) -> dict[str, dict[str, Any]]:
        """Return costs by stage and name, summed over all calls except killed ones."""
        cost: dict[str, dict[str, Any]] = {}
        stages = {"generate": self.answers.cost, "weigh": self.likelihoods.cost, "judge": self.verdicts.cost}
        for stage, done in stages.items():
            earlier = self._earlier.get(stage, {})
            cost[stage] = {
                name: asdict(Cost(**earlier.get(name, {})).plus(done.get(name, Cost())))
                for name in dict.fromkeys([*earlier, *done])
            }
        return cost


def _engine(subject: Subject) -> dict[str, Any]:
    """Return the identity of the engine without the weights: `max_batch_tokens` may decide ties between tokens."""
    left_out = ("base", "adapter_hash")
    return {key: value for key, value in subject.generator.identity().items() if key not in left_out}


def _reasons(subject: Subject, question: Question, found: Mapping[str, list[str | None]]) -> dict[str, Any]:
    """Count the incoherent answers by reason."""
    whys = [why for values in found.values() for why in values if why]
    counts = {why: whys.count(why) for why in sorted(set(whys))}
    return {"subject": subject.name, "benchmark": question.benchmark.name, "num_by_reason": counts}
