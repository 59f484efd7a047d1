"""A harmfulness check with early stopping of its prompts."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from grsap.callbacks.dealt_generation import MarkedAnswer
from grsap.callbacks.harmfulness_check import DEFAULT_SAMPLING, Action, HarmfulnessCheck
from grsap.callbacks.harmfulness_result import HarmfulnessResult, harmfulness_result
from grsap.data.conversation import ConversationDataModule
from grsap.errors import ConfigError
from grsap.files import hash_json
from grsap.generation.base import SamplingSettings
from grsap.judging import Judge
from grsap.measurement.catalogue import RATES
from grsap.measurement.outcomes import harm
from grsap.metrics import FiniteShare, RateEstimate
from grsap.metrics.sequential import anytime_interval


class SequentialHarmfulnessCheck(HarmfulnessCheck):
    """A `HarmfulnessCheck` that asks only as many harmful prompts during training as needed to test the bound.

    Before the first step and after the last it asks all prompts. In between it tests whether the share of harmful or
    unparsed answers over all harmful prompts is within the bound: it asks them in random order, wave by wave, until a
    confidence sequence (`grsap.metrics.FiniteShare`) decides. The decision equals that on all prompts with probability
    1 - `error_rate` per check. It takes few prompts if the share is far from the bound. Such a check has rates on
    harmful prompts only. Their intervals are confidence sequences too: when to stop depends on the answers, for
    which an interval of a fixed number of prompts has no guarantee.

    Args:
        probes: as in `HarmfulnessCheck`.
        max_harmfulness_rate: the bound, in [0, 1].
        every_n_steps: optimizer steps between checks.
        judge: as in `HarmfulnessCheck`.
        sampling: decoding of answers; by default greedy.
        action: action above the bound: `warn`, `stop` or `restore_best`.
        error_rate: probability per check that the decision differs from that on all prompts; in (0, 1).
        wave: harmful prompts per batch, over all devices.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(
        self,
        probes: str | ConversationDataModule,
        max_harmfulness_rate: float,
        every_n_steps: int,
        judge: Judge | None = None,
        sampling: SamplingSettings = DEFAULT_SAMPLING,
        action: Action = "warn",
        error_rate: float = 0.05,
        wave: int = 16,
    ) -> None:
        super().__init__(
            probes,
            judge,
            every_n_steps,
            sampling=sampling,
            max_harmfulness_rate=max_harmfulness_rate,
            action=action,
        )
        if not 0 < error_rate < 1 or wave < 1:
            raise ConfigError(
                f"SequentialHarmfulnessCheck has error_rate {error_rate} and wave {wave}",
                "Give an error rate between 0 and 1, and waves of at least one prompt",
            )
        self.bound = max_harmfulness_rate
        self.error_rate = error_rate
        self.wave = wave
        self._on_the_way = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check if the step is due, with as many prompts as needed."""
        self._on_the_way = True
        try:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        finally:
            self._on_the_way = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the final model with all prompts, even if the last step's check stopped early."""
        last = self.results.get(trainer.global_step)
        if last is not None and last.is_sequential:
            del self.results[trainer.global_step]
        super().on_train_end(trainer, pl_module)

    def ask(
        self, trainer: Trainer, pl_module: LightningModule, step: int
    ) -> tuple[HarmfulnessResult, list[MarkedAnswer]]:
        """Ask all prompts or, during training, wave by wave until the bound is decided."""
        if not self._on_the_way:
            return super().ask(trainer, pl_module, step)
        order = self._order(step)
        # Unparsed answers count as harmful for the bound and the upper end, and as harmless for the lower end.
        at_worst, at_best = (FiniteShare(len(order), self.error_rate) for _ in range(2))
        answers: list[MarkedAnswer] = []
        while len(answers) < len(order) and not at_worst.decides(self.bound):
            wave = order[len(answers) : len(answers) + self.wave]
            answers += self.answer(trainer, pl_module, step, self._judge, wave)
            harmful = [harm(self.judge, row["response_harmful"], row["response_refusal"]) for row in answers]
            at_worst.update(sum(value is not False for value in harmful), len(answers))
            at_best.update(sum(value is True for value in harmful), len(answers))
        asked = [self._probes[place] for place in order[: len(answers)]]
        result = harmfulness_result(step, asked, answers, self.judge)
        rates: dict[str, RateEstimate | None] = dict.fromkeys(result.rates)
        for key, rate in result.rates.items():
            if rate is not None and RATES[key].subset == "harmful":
                low, high = anytime_interval(result.outcomes[key].values(), len(order), self.error_rate)
                rates[key] = replace(rate, low=low, high=high)
        if (rate := rates["harmfulness_rate"]) is not None:
            # The sequence that decided: it has excluded shares after earlier waves too.
            rates["harmfulness_rate"] = replace(rate, low=at_best.low, high=at_worst.high)
        return replace(result, rates=rates, is_sequential=True), answers

    def is_within_bound(self, result: HarmfulnessResult) -> bool:
        """Return whether the rate is within the bound, by the confidence sequence if there is one."""
        if not result.is_sequential or result.harmfulness_rate is None:
            return super().is_within_bound(result)
        return result.harmfulness_rate.high <= self.bound

    def _order(self, step: int) -> list[int]:
        """Return the indices of the harmful prompts in a random order that depends only on the step and the prompts."""
        order = [place for place, probe in enumerate(self._probes) if probe.prompt_harmful]
        random.Random(int(hash_json(["sequential", self.fingerprint, step]), 16)).shuffle(order)
        return order
