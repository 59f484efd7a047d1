"""Measures harmfulness, refusal and over-refusal during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from grsap.callbacks.dealt_generation import MarkedAnswer
from grsap.callbacks.harmfulness_result import HarmfulnessResult, harmfulness_result, kappas
from grsap.callbacks.periodic_check import PeriodicCheck, checks_of, make_request, prompt_limit, report_rates
from grsap.callbacks.transcripts import write_transcript
from grsap.console import say
from grsap.data.conversation import ConversationDataModule
from grsap.data.conversations import place_of, rows_of
from grsap.embedded import resolve
from grsap.errors import ConfigError, DataError
from grsap.files import hash_json
from grsap.generation.base import Generation, GenerationRequest, SamplingSettings
from grsap.judging import LABELS, Exchange, Judge, RefusalMatcher, Verdict, is_refusal
from grsap.records import Probe, probes_of, read_probes
from grsap.training.trainable_weights import TrainableWeights

Action = Literal["warn", "stop", "restore_best"]
DEFAULT_SAMPLING = SamplingSettings()


class HarmfulnessCheck(PeriodicCheck[HarmfulnessResult]):
    """Generates answers to harmful and benign prompts, has them judged, and logs rates with intervals.

    Logged keys read `check/compliance_rate/harmful`. The text of answers is written to `transcripts/` in the run
    folder only. The bound applies to the share of answers that are harmful or unparsed; a judge that sees refusals
    only takes for harmful whatever does not refuse. With action `warn`, training is
    bit-identical with and without the check.

    Args:
        probes: prompts `{id, messages, domain, subset, pair_id}`: a JSONL file (`embedded:` names one of the package),
            or the rows of the split `test` of a DataModule.
        judge: labels answers as harmful and as refusals. The refusal matcher replaces missing refusal labels. Run a
            guard model on its own device or a server; if it shares this device, its weights are loaded for each check
            and released after it. With several devices each judges its share.
        every_n_steps: optimizer steps between checks; None for no checks between start and end.
        at_start: check before the first step.
        at_end: check after the last step.
        sampling: how answers are decoded; greedy by default.
        max_harmfulness_rate: bound in [0, 1]; None for none.
        action: what to do above the bound: `warn`; `stop` training; or `restore_best`, which stops and restores the
            trainable weights of the latest check within the bound.

    Attributes:
        stop_reason: why the check ended training, if it did.
        restored_step: the step whose weights were restored, if any.
        violation: the result above the bound. `results` then has those of the restored weights.

    Raises:
        ConfigError: a setting is out of range, or an action without a bound.
    """

    description = "harmfulness check"

    def __init__(
        self,
        probes: str | ConversationDataModule,
        judge: Judge | None = None,
        every_n_steps: int | None = None,
        at_start: bool = True,
        at_end: bool = True,
        sampling: SamplingSettings = DEFAULT_SAMPLING,
        max_harmfulness_rate: float | None = None,
        action: Action = "warn",
    ) -> None:
        super().__init__(every_n_steps, at_start, at_end, sampling)
        if max_harmfulness_rate is not None and not 0 <= max_harmfulness_rate <= 1:
            raise ConfigError(
                f"HarmfulnessCheck.max_harmfulness_rate is {max_harmfulness_rate}", "Give a share in [0, 1], or null"
            )
        if max_harmfulness_rate is None and action != "warn":
            raise ConfigError(
                f"HarmfulnessCheck.action is {action} without a bound", "Give max_harmfulness_rate, or action warn"
            )
        self.probes = probes
        self.judge = RefusalMatcher() if judge is None else judge
        self.max_harmfulness_rate = max_harmfulness_rate
        self.action = action
        self.stop_reason: str | None = None
        self.restored_step: int | None = None
        self.violation: HarmfulnessResult | None = None
        self._probes: list[Probe] = []
        self._kept: tuple[int, dict[str, Tensor]] | None = None

    @property
    def probes_path(self) -> Path | None:
        """The file of prompts; None if they come from a DataModule."""
        return resolve(self.probes) if isinstance(self.probes, str) else None

    @property
    def probes_name(self) -> str:
        """The file of prompts as in the settings, or the class of the DataModule."""
        return self.probes if isinstance(self.probes, str) else type(self.probes).__name__

    def prepare(self, trainer: Trainer, pl_module: LightningModule) -> list[GenerationRequest]:
        """Read the probes and check that the judge is ready; loads no weights.

        Raises:
            UserError: the judge's model cannot be found or does not fit.
            DataError: file or rows are missing or wrong, an id occurs twice, or a prompt is too long.
        """
        self.judge.prepare()
        self.judge.check_ready()
        self._probes, path = self._read_probes(trainer)
        requests = [make_request(pl_module, probe.id, probe.messages) for probe in self._probes]
        limit = prompt_limit(trainer, pl_module, self.sampling)
        seen: set[str] = set()
        for request in requests:
            if request.id in seen:
                raise DataError(f"probe {request.id} occurs twice", "Give each probe an id of its own", path=path)
            seen.add(request.id)
            if len(request.prompt_ids) > limit:
                raise DataError(
                    f"probe {request.id} has {len(request.prompt_ids)} tokens, more than the limit of {limit}",
                    "Shorten it, or raise data.encoding.max_length if the model reads more",
                    path=path,
                )
        if self.max_harmfulness_rate is not None and not any(probe.prompt_harmful for probe in self._probes):
            raise DataError("no harmful prompt to hold max_harmfulness_rate against", "Add some", path=path)
        if self.max_harmfulness_rate is not None and self.judge.is_proxy and trainer.is_global_zero:
            say(
                f"{type(self).__name__}: {self.judge.name} sees refusals only, so that max_harmfulness_rate bounds all "
                "answers that do not refuse. Results name compliance_rate, which leaves incoherent ones out."
            )
        return requests

    def _read_probes(self, trainer: Trainer) -> tuple[list[Probe], str | Path]:
        """The prompts and their source."""
        if (path := self.probes_path) is not None:
            return read_probes(path), path
        assert isinstance(self.probes, ConversationDataModule)
        if trainer.local_rank == 0:
            self.probes.prepare_data()
        trainer.strategy.barrier("HarmfulnessCheck.probes")
        self.probes.setup("test")
        place = place_of(self.probes, "test")
        return probes_of(enumerate(rows_of(self.probes, "test"), 1), place), place

    def check(self, trainer: Trainer, pl_module: LightningModule, step: int) -> HarmfulnessResult:
        """Generate, judge, log and write the transcript."""
        try:
            result, answers = self.ask(trainer, pl_module, step)
        finally:
            self.judge.release(pl_module.device)
        report_rates(trainer, result.logged() | kappas(answers), step)
        write_transcript(trainer, step, [row | {"outcome": result.answer_outcome(row["id"])} for row in answers])
        return result

    def ask(
        self, trainer: Trainer, pl_module: LightningModule, step: int
    ) -> tuple[HarmfulnessResult, list[MarkedAnswer]]:
        """Generate and judge the answers; the rates and the answers."""
        answers = self.answer(trainer, pl_module, step, self._judge)
        return harmfulness_result(step, self._probes, answers, self.judge), answers

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the final model. After restoring weights, the other checks then run on them too."""
        super().on_train_end(trainer, pl_module)
        if self.restored_step is not None:
            for check in checks_of(trainer):
                if check.at_end:
                    check.run(trainer, pl_module)

    @property
    def fingerprint(self) -> str:
        """Hash of prompts, decoding and judge."""
        return hash_json([super().fingerprint, self.judge.name, self.judge.revision])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the judge's connections."""
        self.judge.close()

    def read_result(self, values: Mapping[str, Any]) -> HarmfulnessResult:
        """From a checkpoint."""
        return HarmfulnessResult.from_dict(values)

    def _judge(self, generations: Sequence[Generation]) -> list[MarkedAnswer]:
        probes = {probe.id: probe for probe in self._probes}
        responses = {answer.id: self.read(answer) for answer in generations}
        answered = {id_: each.response for id_, each in responses.items() if not each.is_unanswered}
        exchanges = [Exchange.of(probes[id_].messages, response) for id_, response in answered.items()]
        verdicts = dict(zip(answered, self.judge.checked_verdicts(exchanges), strict=True))
        unanswered, by_judge = Verdict(reason="unanswered"), self.judge.says_refusals
        return [
            {
                "id": id_,
                "subset": probes[id_].subset,
                **response.to_dict(),
                "response_harmful": verdict.response_harmful,
                "response_refusal": verdict.response_refusal if by_judge else is_refusal(response.response),
                "judge": self.judge.name,
                "judge_revision": self.judge.revision,
                **{f"judge_{key}": value for key, value in verdict.to_dict().items() if key not in LABELS},
            }
            for id_, response in responses.items()
            for verdict in [verdicts.get(id_, unanswered)]
        ]

    def on_result(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """Compare the result with the bound, and act."""
        rate = self.results[step].harmfulness_rate
        if self.max_harmfulness_rate is None or rate is None:
            return
        # All ranks have the same numbers, but rank 0 decides, so that ranks cannot diverge by rounding.
        if trainer.strategy.broadcast(self.is_within_bound(self.results[step])):
            if self.action == "restore_best":
                self._kept = (step, TrainableWeights(pl_module).snapshot())
            return
        reason = (
            f"{self.results[step].harmfulness_label} is {rate.worst:.3f} at step {step} ({self.judge.name}, "
            f"{rate.num_prompts} prompts, {rate.num_unparsed} unparsed), above the bound of {self.max_harmfulness_rate}"
        )
        if self.action == "warn":
            rank_zero_warn(f"HarmfulnessCheck: {reason}. Training continues.")
            return
        trainer.should_stop = True
        self.violation = self.results[step]
        outcome = "training stopped"
        if self.action == "restore_best":
            outcome += self._restore(trainer, pl_module, step)
        self.stop_reason = f"{reason}; {outcome}"
        rank_zero_warn(f"HarmfulnessCheck: {self.stop_reason}.")

    def is_within_bound(self, result: HarmfulnessResult) -> bool:
        """Whether a check's share of harmful or unparsed answers is within the bound, if there is one."""
        rate = result.harmfulness_rate
        return self.max_harmfulness_rate is None or rate is None or rate.worst <= self.max_harmfulness_rate

    def _restore(self, trainer: Trainer, pl_module: LightningModule, step: int) -> str:
        if self._kept is None:
            return "; no earlier check was within the bound, so that the weights are as they were at that step"
        self.restored_step, weights = self._kept
        TrainableWeights(pl_module).restore(weights)
        for check in checks_of(trainer):
            check.weights_restored(step, self.restored_step)
        return (
            f", weights of step {self.restored_step} put back, which were chosen on these prompts: their rates "
            "flatter, so evaluate prompts that were held out"
        )

    def state_dict(self) -> dict[str, Any]:
        """Results and, for `restore_best`, the weights kept."""
        return super().state_dict() | {
            "kept": self._kept,
            "stop_reason": self.stop_reason,
            "restored_step": self.restored_step,
            "violation": None if self.violation is None else self.violation.to_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore results and weights from a checkpoint."""
        super().load_state_dict(state_dict)
        self._kept = state_dict["kept"]
        self.stop_reason = state_dict["stop_reason"]
        self.restored_step = state_dict["restored_step"]
        violation = state_dict["violation"]
        self.violation = None if violation is None else HarmfulnessResult.from_dict(violation)
