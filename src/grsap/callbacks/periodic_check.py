"""What the checks share: when they run, what they leave untouched, and what a checkpoint keeps of them."""

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
from grsap.generation.base import GenerationRequest, SamplingSettings
from grsap.generation.batching import BatchingGenerator
from grsap.records import Message


class CheckResult(Protocol):
    """What one check found; plain values inside."""

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        ...


Result = TypeVar("Result", bound=CheckResult)


class PeriodicCheck(Callback, ABC, Generic[Result]):
    """Puts prompts to the model before training, every n optimizer steps, and after it.

    All ranks enter a check or none, and all know its result. The global random state is put back and modules keep
    their mode, so that training goes on as if there had been no check. Results are in checkpoints: a resumed run
    repeats none.

    Args:
        every_n_steps: optimizer steps between checks; None for none on the way.
        at_start: check before the first step.
        at_end: check after the last step.
        sampling: how answers are decoded.

    Attributes:
        results: by optimizer step, what was found about the weights that the run has after that step.

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

    @abstractmethod
    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> list[GenerationRequest]:
        """Read the prompts, before any weights are loaded; an empty list switches the check off."""

    @abstractmethod
    def check(self, trainer: Trainer, pl_module: LightningModule, step: int) -> Result:
        """Make one check, on all ranks alike."""

    @abstractmethod
    def read_result(self, values: Mapping[str, Any]) -> Result:
        """The inverse of the result's `to_dict`."""

    def on_result(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """Act on the result of `step`, on all ranks alike; by default nothing."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read and check the prompts; weights are not loaded yet.

        Raises:
            DataError: a file is missing or wrong, or a prompt is too long.
        """
        if stage == "fit":
            self._requests = self.prepare(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the model as it starts; a resumed run has this in its checkpoint."""
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
        """Check the model as training leaves it."""
        if self.at_end:
            self.run(trainer, pl_module)

    def run(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the present weights, unless that is done; all ranks must enter."""
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
        """Generate and mark one answer a request, in their order, on every rank.

        Args:
            trainer: of the run.
            pl_module: gives the generator.
            step: for the progress line.
            mark: marks answers.
            places: of the requests, in the order wanted; all of them by default.
        """
        requests = self._requests if places is None else [self._requests[place] for place in places]
        generator: BatchingGenerator = pl_module.generator()  # type: ignore[operator]
        with phase(trainer, f"{self.description} at step {step}", len(requests)) as progress:
            return answer_all(trainer, generator, requests, self.sampling, mark, progress)

    def weights_restored(self, step: int, from_step: int) -> None:
        """Note that at `step` the weights of `from_step` were put back: what is known of these holds there."""
        if from_step in self.results:
            self.results[step] = self.results[from_step]
        else:
            self.results.pop(step, None)

    @property
    def fingerprint(self) -> str:
        """Of prompts and decoding: results of one fingerprint can be compared."""
        settings = [self.sampling.max_new_tokens, self.sampling.temperature, self.sampling.top_p]
        return hash_json([[[request.id, request.prompt_ids] for request in self._requests], settings])

    def state_dict(self) -> dict[str, Any]:
        """Results so far, as plain values."""
        results = {step: result.to_dict() for step, result in self.results.items()}
        return {"fingerprint": self.fingerprint, "results": results}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the results of a checkpoint.

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
    """A request whose seed depends on its id alone, so that a row is sampled alike at each step and by each device."""
    prompt_ids = tuple(pl_module.template.prompt_ids(messages))  # type: ignore[operator, union-attr]
    return GenerationRequest(request_id, prompt_ids, seed=int(hash_json(["check", request_id]), 16) % 2**63)


def prompt_limit(trainer: Trainer, pl_module: LightningModule, sampling: SamplingSettings) -> int:
    """Tokens that a prompt may have: the data's `encoding.max_length`, and what the tokenizer says the model reads."""
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
    """Give numbers to the trainer's loggers and, by the module's `observe`, to its balancer; None is left out."""
    numbers = {key: value for key, value in values.items() if value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step=step)
    if (observe := getattr(trainer.lightning_module, "observe", None)) is not None:
        observe(numbers, step)
