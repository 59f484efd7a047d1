"""Tasks of EleutherAI's evaluation harness (package `lm-eval`), on the same loaded weights as the benchmarks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grsap.checksums import read_checked_json, write_checked_json
from grsap.errors import ConfigError, MissingPackageError
from grsap.evaluation.subjects import Subject
from grsap.files import hash_json
from grsap.records import Message

HARNESS_DIR = "lm_eval"
OLDEST = (0, 4, 10)
PROMPTS = 2
"""Version of the prompt format; a new number invalidates stored results."""


@dataclass(frozen=True)
class HarnessTasks:
    """Tasks of the package `lm-eval` (extra `lm-eval`), which loads their data and scores them.

    Args:
        names: such as `[gsm8k, hellaswag]`.
        limit: rows of each task; by default all.
        num_fewshot: examples before each prompt; by default the task's number.
        apply_chat_template: put prompts into the model's chat template.
        include_path: folder of user-defined task files.
    """

    names: list[str]
    limit: int | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool = True
    include_path: str | None = None

    def check(self) -> None:
        """Check the settings and the package; loads nothing.

        Raises:
            ConfigError: no task is named.
            MissingPackageError: `lm-eval` is not installed, or too old.
        """
        if not self.names:
            raise ConfigError("names is empty", "Name a task, or leave lm_eval_tasks out", part=self)
        if importlib.util.find_spec("lm_eval") is None:
            raise MissingPackageError(
                "lm_eval_tasks needs the package lm-eval", "Install grsap with the extra `lm-eval`"
            )
        installed = importlib.metadata.version("lm_eval")
        if tuple(map(int, re.findall(r"\d+", installed)[:3])) < OLDEST:
            raise MissingPackageError(
                f"lm-eval {installed} cannot be imported with transformers 5", "Install grsap with the extra `lm-eval`"
            )

    def path(self, subject: Subject, folder: Path) -> Path:
        """Return the file of a subject's results, named by weights, settings and the package's version."""
        key = hash_json([PROMPTS, subject.hash, asdict(self), importlib.metadata.version("lm_eval")])
        return folder / HARNESS_DIR / f"{key}.json"

    def evaluate(self, subject: Subject, folder: Path) -> None:
        """Run the tasks on a subject, unless its results exist.

        Raises:
            ConfigError: its weights are not in this process.
        """
        path = self.path(subject, folder)
        if path.exists():
            return
        import lm_eval
        from lm_eval.tasks import TaskManager

        found = lm_eval.simple_evaluate(
            self.model(subject),
            tasks=list(self.names),
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            apply_chat_template=self.apply_chat_template,
            task_manager=TaskManager(include_path=self.include_path),
            log_samples=False,
        )
        write_checked_json(path, {"rows": harness_rows(found)})

    def model(self, subject: Subject) -> Any:
        """Return the subject as a model of lm-eval, with prompts in the subject's chat template and its settings.

        By default lm-eval passes no `chat_template_kwargs`, inserts the current date where a template asks for it,
        drops a system turn that a template rejects, and adds a beginning-of-sequence token before the template's text.
        """
        from lm_eval.models.huggingface import HFLM

        template = subject.generator.template

        def apply_chat_template(chat_history: list[Message], add_generation_prompt: bool = True) -> str:
            if add_generation_prompt:
                return template.prompt_text(chat_history)
            *turns, answer = chat_history  # the model continues the answer
            return template.prompt_text(turns) + answer["content"]

        model = HFLM(
            pretrained=subject.model(),
            tokenizer=subject.generator.tokenizer,
            backend="causal",
            batch_size=8,
            add_bos_token=False if self.apply_chat_template else None,
        )
        model.apply_chat_template = apply_chat_template
        return model

    def results(self, subject: Subject, folder: Path) -> list[dict[str, Any]]:
        """Return rows of `{subject, task, metric, value, stderr, num_rows}`; empty if the tasks were not run.

        Raises:
            DataError: the file was changed since it was written.
        """
        kept = read_checked_json(self.path(subject, folder)) or {"rows": []}
        return [{"subject": subject.name, **row} for row in kept["rows"]]


def harness_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per task and metric from the results of `lm_eval.simple_evaluate`.

    It names values `acc,none` and their standard errors `acc_stderr,none`.
    """
    rows = []
    for task, values in found["results"].items():
        for name, value in values.items():
            metric, _, filter_name = name.partition(",")
            if filter_name and not metric.endswith("_stderr") and _number(value) is not None:
                rows.append(
                    {
                        "task": task,
                        "metric": metric if filter_name == "none" else name,
                        "value": _number(value),
                        "stderr": _number(values.get(f"{metric}_stderr,{filter_name}")),
                        "num_rows": (found.get("n-samples") or {}).get(task, {}).get("effective"),
                    }
                )
    return rows


def _number(value: Any) -> float | None:
    """Return a float; None for values that are not finite numbers, such as `N/A`."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
