"""Measure the task score during training."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from grsap.callbacks.dealt_generation import MarkedAnswer
from grsap.callbacks.periodic_check import PeriodicCheck, make_request, prompt_limit, report_rates
from grsap.callbacks.transcripts import write_transcript
from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.conversations import place_of, read_conversations, rows_of
from grsap.errors import ConfigError, DataError
from grsap.files import hash_json
from grsap.generation.base import Generation, GenerationRequest, SamplingSettings
from grsap.metrics import RateEstimate, mean_estimate
from grsap.records import Split, check_messages

DEFAULT_SAMPLING = SamplingSettings(max_new_tokens=128)


@dataclass(frozen=True)
class TaskScoreResult:
    """The result of one check.

    Attributes:
        step: optimizer steps done.
        task_score: mean score in [0, 1] with its interval: exact if all scores are 0 or 1, else
            `mean_interval`.
        majority_baseline: mean score of the most frequent training answer on the same rows, in [0, 1].
        outcomes: row id -> score of its answer, in [0, 1].
        truncated_share: share of answers that reached the token limit, in [0, 1].
    """

    step: int
    task_score: RateEstimate
    majority_baseline: float | None
    outcomes: dict[str, float]
    truncated_share: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskScoreResult:
        """Read what `to_dict` returned."""
        return cls(**{**values, "task_score": RateEstimate.from_dict(values["task_score"])})


class TaskScoreCheck(PeriodicCheck[TaskScoreResult]):
    """Generates answers to held-out rows of the task and scores them by the task's `score`.

    Answers are written to `transcripts/` only. Logged keys read `check/task_score/test`.

    Args:
        every_n_steps: optimizer steps between checks; None for no checks between start and end.
        at_start: whether to check before the first step.
        at_end: whether to check after the last step.
        num_rows: maximum number of rows; a larger split is sampled with a fixed seed.
        split: split of the task.
        sampling: decoding of answers; by default greedy.

    Raises:
        ConfigError: a setting is out of range.
    """

    description = "task-score check"

    def __init__(
        self,
        every_n_steps: int | None = None,
        at_start: bool = True,
        at_end: bool = True,
        num_rows: int = 100,
        split: Split = "test",
        sampling: SamplingSettings = DEFAULT_SAMPLING,
    ) -> None:
        super().__init__(every_n_steps, at_start, at_end, sampling)
        if num_rows < 1:
            raise ConfigError(f"TaskScoreCheck.num_rows is {num_rows}", "Give at least 1, or leave the check out")
        self.num_rows = num_rows
        self.split: Split = split
        self._rows: dict[str, Row] = {}
        self._task: ConversationDataModule
        self._majority_baseline: float | None = None

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> list[GenerationRequest]:
        """Choose the rows.

        Raises:
            ConfigError: the data has no task, or the task has no score.
            DataError: the split is empty, a row is wrong, or all prompts are too long.
        """
        untyped: Any = trainer
        task = getattr(untyped.datamodule, "task", None)
        if not isinstance(task, ConversationDataModule):
            raise ConfigError("TaskScoreCheck finds no task in the data", "Use MixtureDataModule, or remove the check")
        self._task = task
        if not task.has_score:
            raise ConfigError(
                f"TaskScoreCheck: {type(task).__name__} cannot score answers",
                "Set exact_match of the task, implement its method score, or remove the check",
            )
        rows = read_conversations(task, self.split, required=False)
        place = place_of(task, self.split)
        if not rows:
            raise DataError(
                f"{place} gives no row to score", "Set TaskScoreCheck.split to one that has rows, or remove the check"
            )
        chosen = sorted(random.Random(0).sample(range(len(rows)), min(self.num_rows, len(rows))))
        requests = []
        for index in chosen:
            check_messages(rows[index].get("messages"), path=place, line=index + 1)
            row_id = str(rows[index].get("id") or hash_json([self.split, index, rows[index]["messages"]]))
            requests.append(make_request(pl_module, row_id, rows[index]["messages"][:-1]))
            self._rows[row_id] = rows[index]
        requests = self._drop_long(requests, prompt_limit(trainer, pl_module, self.sampling), place)
        self._majority_baseline = self._score_majority(requests)
        return requests

    def _drop_long(self, requests: list[GenerationRequest], limit: int, place: str) -> list[GenerationRequest]:
        """Drop prompts beyond the length limit, with a warning."""
        kept = [request for request in requests if len(request.prompt_ids) <= limit]
        if not kept:
            raise DataError(
                f"all {len(requests)} prompts of {place} are longer than the limit of {limit} tokens",
                "Raise data.encoding.max_length",
            )
        if len(kept) < len(requests):
            rank_zero_warn(
                f"{len(requests) - len(kept)} of {len(requests)} prompts of {place} are longer than {limit} "
                "tokens and are not scored."
            )
        return kept

    def _score_majority(self, requests: Sequence[GenerationRequest]) -> float | None:
        """Return the mean score of the most frequent training answer (the first of several); None without answers."""
        answers = Counter(str(row["messages"][-1]["content"]) for row in rows_of(self._task, "train"))
        if not answers:
            return None
        majority = answers.most_common(1)[0][0]
        return sum(self._score(majority, self._rows[request.id]) for request in requests) / len(requests)

    def _score(self, response: str, row: Row) -> float:
        return self._task.checked_score(response, row)

    def check(self, trainer: Trainer, pl_module: LightningModule, step: int) -> TaskScoreResult:
        """Generate, score, log and write the transcript."""
        answers = self.answer(trainer, pl_module, step, self._mark)
        outcomes = {row["id"]: row["score"] for row in answers}
        estimate = mean_estimate(list(outcomes.values()), judge=type(self._task).__name__)
        truncated = sum(row["finish_reason"] == "length" for row in answers) / len(answers)
        metrics = estimate.logged("task_score", self.split) | {
            f"check/majority_baseline/{self.split}": self._majority_baseline,
            f"check/task_truncated_share/{self.split}": truncated,
        }
        report_rates(trainer, metrics, step)
        write_transcript(trainer, step, answers, prefix="task-")
        return TaskScoreResult(step, estimate, self._majority_baseline, outcomes, truncated)

    def read_result(self, values: Mapping[str, Any]) -> TaskScoreResult:
        """Read a result from a checkpoint."""
        return TaskScoreResult.from_dict(values)

    def _mark(self, generations: Sequence[Generation]) -> list[MarkedAnswer]:
        return [
            {"id": answer.id, **response.to_dict(), "score": self._score(response.response, self._rows[answer.id])}
            for answer in generations
            for response in [self.read(answer)]
        ]
