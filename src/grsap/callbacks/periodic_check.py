"""Base class of the checks: schedule, isolation from training, and checkpointed results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from grsap.callbacks.dealt_generation import Mark, MarkedAnswer, answer_all
from grsap.callbacks.lookup import callbacks_of
from grsap.callbacks.phases import phase
from grsap.errors import ConfigError, DataError
from grsap.files import hash_json
from grsap.generation.base import Generation, GenerationRequest, SamplingSettings
from grsap.generation.model_generator import ModelGenerator
from grsap.measurement.responses import Response, read_response
from grsap.records import Message
from grsap.text.thought_tokens import ends_in_thought


class CheckResult(Protocol):
    """The result of one check, made of plain values."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        ...


Result = TypeVar("Result", bound=CheckResult)


class PeriodicCheck(Callback, ABC, Generic[Result]):
    """Generates answers to prompts before training, every n optimizer steps, and after training.

    All ranks run a check or none, and all have its result. The global random state and the modules' modes are restored,
    so a check does not affect training. Results are in checkpoints: a resumed run repeats none.

    Args:
        every_n_steps: optimizer steps between checks; None for no checks between start and end.
        at_start: check before the first step.
        at_end: check after the last step.
        sampling: how answers are decoded.

    Attributes:
        results: by optimizer step, of the weights after that step.

    Raises:
        ConfigError: a setting is out of range.
    """

    description: ClassVar[str] = "check"

    def __init__(self, every_n_steps: int | None, at_start: bool, at_end: bool, sampling: SamplingSettings) -> None:
        super().__init__()
        name = type(self).__name__
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigError(f"{name}.every_n_steps is {every_n_steps}", "Give at least 1, or null for none")
        sampling.check()
        self.every_n_steps = every_n_steps
        self.at_start = at_start
        self.at_end = at_end
        self.sampling = sampling
        self.results: dict[int, Result] = {}
        self._requests: list[GenerationRequest] = []
        self._inside_thought: frozenset[str] = frozenset()

    @abstractmethod
    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> list[GenerationRequest]:
        """Read the prompts, before any weights load; an empty list switches the check off."""

    @abstractmethod
    def check(self, trainer: Trainer, pl_module: LightningModule, step: int) -> Result:
        """Run one check, on all ranks."""

    @abstractmethod
    def read_result(self, values: Mapping[str, Any]) -> Result:
        """The inverse of the result's `to_dict`."""

    def on_result(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """Act on the result of `step`, on all ranks; by default nothing."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read and check the prompts, before weights load.

        Raises:
            DataError: a file is missing or wrong, or a prompt is too long.
        """
        if stage == "fit":
            self._requests = self.prepare(trainer, pl_module)
            tokenizer = getattr(pl_module.template, "tokenizer", None)
            if tokenizer is not None:
                inside = (each.id for each in self._requests if ends_in_thought(tokenizer, each.prompt_ids))
                self._inside_thought = frozenset(inside)

    def read(self, answer: Generation) -> Response:
        """The answer to one of the requests, without its thought."""
        return read_response(answer, opened=answer.id in self._inside_thought)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the initial model; a resumed run has this result in its checkpoint."""
        if self.at_start and trainer.global_step == 0:
            self.run(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check when the step is due."""
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0 and trainer.global_step:
            self.run(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the final model."""
        if self.at_end:
            self.run(trainer, pl_module)

    def run(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the current weights unless they were checked. A collective: all ranks must call it."""
        step = trainer.global_step
        if step in self.results or not self._requests:
            return
        with isolate_rng():
            self.results[step] = self.check(trainer, pl_module, step)
        self.on_result(trainer, pl_module, step)

    def answer(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        step: int,
        mark: Mark,
        places: Sequence[int] | None = None,
    ) -> list[MarkedAnswer]:
        """Generate and judge one answer per request, in order, on every rank.

        Args:
            trainer: of the run.
            pl_module: gives the generator.
            step: for the progress line.
            mark: scores or judges answers.
            places: indices of the requests, in order; all by default.
        """
        requests = self._requests if places is None else [self._requests[place] for place in places]
        generator: ModelGenerator = pl_module.generator()  # type: ignore[operator]
        with phase(trainer, f"{self.description} at step {step}", len(requests)) as progress:
            return answer_all(trainer, generator, requests, self.sampling, mark, progress)

    def weights_restored(self, step: int, from_step: int) -> None:
        """Reuse the result of `from_step` at `step`, where its weights were restored."""
        if from_step in self.results:
            self.results[step] = self.results[from_step]
        else:
            self.results.pop(step, None)

    @property
    def prompts(self) -> frozenset[tuple[int, ...]]:
        """The tokens of each prompt."""
        return frozenset(tuple(request.prompt_ids) for request in self._requests)

    @property
    def fingerprint(self) -> str:
        """Hash of prompts and decoding: results of one fingerprint are comparable."""
        settings = [self.sampling.max_new_tokens, self.sampling.temperature, self.sampling.top_p]
        return hash_json([[[request.id, request.prompt_ids] for request in self._requests], settings])

    def state_dict(self) -> dict[str, Any]:
        """Results so far, as plain values."""
        results = {step: result.to_dict() for step, result in self.results.items()}
        return {"fingerprint": self.fingerprint, "results": results}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the results from a checkpoint.

        Raises:
            DataError: prompts, sampling or judge are not those of the checkpoint.
        """
        if self._requests and state_dict["fingerprint"] != self.fingerprint:
            raise DataError(
                f"{type(self).__name__}: prompts, sampling or judge are not those of the checkpoint's results",
                "Put them back as they were, or start a new run",
            )
        self.results = {int(step): self.read_result(values) for step, values in state_dict["results"].items()}


def checks_of(trainer: Trainer) -> list[PeriodicCheck[Any]]:
    """All checks of a trainer."""
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, PeriodicCheck)]


def make_request(pl_module: LightningModule, request_id: str, messages: Sequence[Message]) -> GenerationRequest:
    """A request seeded by its id only, so that sampling does not depend on the step or device."""
    prompt_ids = tuple(pl_module.template.prompt_ids(messages))  # type: ignore[operator, union-attr]
    return GenerationRequest(request_id, prompt_ids, seed=int(hash_json(["check", request_id]), 16) % 2**63)


def prompt_limit(trainer: Trainer, pl_module: LightningModule, sampling: SamplingSettings) -> int:
    """Maximum prompt length in tokens, by the data's `encoding.max_length` and the tokenizer's `model_max_length`."""
    untyped: Any = trainer
    limits = []
    encoding = getattr(untyped.datamodule, "encoding", None)
    if encoding is not None:
        limits.append(int(encoding.max_length))
    tokenizer = getattr(pl_module.template, "tokenizer", None)
    if tokenizer is not None:
        limits.append(int(tokenizer.model_max_length) - sampling.max_new_tokens)
    return min(limits, default=2**31)


def report_rates(trainer: Trainer, values: Mapping[str, float | None], step: int) -> None:
    """Log numbers other than None, and pass them to the balancer by the module's `observe`."""
    numbers = {key: value for key, value in values.items() if value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step=step)
    if (observe := getattr(trainer.lightning_module, "observe", None)) is not None:
        observe(numbers, step)
