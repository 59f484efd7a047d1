"""Find the results of checks, for checkpoints and the summary."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Trainer

from grsap.callbacks.harmfulness_check import HarmfulnessCheck
from grsap.callbacks.harmfulness_result import HarmfulnessResult
from grsap.callbacks.lookup import callbacks_of
from grsap.callbacks.task_score_check import TaskScoreResult


@runtime_checkable
class KeepsHarmfulness(Protocol):
    """A callback that checks harmfulness, such as `HarmfulnessCheck`."""

    results: dict[int, HarmfulnessResult]
    max_harmfulness_rate: float | None


@runtime_checkable
class KeepsTaskScore(Protocol):
    """A callback that checks the task score, such as `TaskScoreCheck`."""

    results: dict[int, TaskScoreResult]


def harmfulness_check(trainer: Trainer) -> KeepsHarmfulness | None:
    """Return the run's harmfulness check; None if there is none."""
    return next((each for each in callbacks_of(trainer) if isinstance(each, KeepsHarmfulness)), None)


def restored_weights(trainer: Trainer) -> dict[str, Any] | None:
    """Return the step whose weights a check with `restore_best` put back, and on which prompts; None if none did.

    Rates on other prompts are held out: `held_out` has those of each further check that shares no prompt with it.
    """
    checks = [each for each in callbacks_of(trainer) if isinstance(each, HarmfulnessCheck)]
    chooser = next((each for each in checks if each.restored_step is not None), None)
    if chooser is None:
        return None
    step = trainer.global_step
    others = [each for each in checks if each.action != "restore_best" and step in each.results]
    held_out = [each for each in others if each.prompts.isdisjoint(chooser.prompts)]
    return {
        "step": chooser.restored_step,
        "stopped_at": step,
        "probes": chooser.probes_name,
        "rates_are_held_out": harmfulness_check(trainer) in held_out,
        "held_out": [
            {
                "probes": each.probes_name,
                "harmfulness_is_proxy": each.judge.is_proxy,
                "rates": {key: asdict(rate) for key, rate in each.results[step].rates.items() if rate},
            }
            for each in held_out
        ],
    }


def task_score_check(trainer: Trainer) -> KeepsTaskScore | None:
    """Return the run's task-score check; None if there is none."""
    others = [each for each in callbacks_of(trainer) if not isinstance(each, KeepsHarmfulness)]
    return next((each for each in others if isinstance(each, KeepsTaskScore)), None)


def checked_steps(trainer: Trainer) -> set[int]:
    """Return the steps at which a check has run."""
    checks = (harmfulness_check(trainer), task_score_check(trainer))
    return {step for check in checks if check is not None for step in check.results}


def best_step(trainer: Trainer, steps: set[int]) -> int | None:
    """Return the step of `steps` with the highest task score whose harmfulness is within the check's bound, or None.

    Unparsed answers count as harmful, as in the check. Of equal scores the lower harmfulness is preferred, then the
    later step. Without a task-score check there is no best step. Steps without a harmfulness result are eligible only
    if there is no bound.
    """
    tasks, harms = task_score_check(trainer), harmfulness_check(trainer)
    bound = None if harms is None else harms.max_harmfulness_rate
    ranked: list[tuple[float, float, int]] = []
    for step in steps if tasks is not None else ():
        result = None if tasks is None else tasks.results.get(step)
        if result is None or result.task_score.value is None:
            continue
        harm = harms.results[step].harmfulness_rate if harms is not None and step in harms.results else None
        if bound is None or (harm is not None and harm.worst <= bound):
            ranked.append((result.task_score.value, -1.0 if harm is None else -harm.worst, step))
    return max(ranked)[2] if ranked else None
