"""Estimated cost of a stage before it runs, without the network: tokens, hours, memory of one device.

Rules of thumb for planning: a transformer needs 2 floating-point operations per parameter and token in the forward pass
and twice as many in the backward pass (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). Memory is estimated as by
`grsap fit --dry-run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from grsap.embedded import resolve
from grsap.errors import ConfigError
from grsap.study.machine import Machine
from grsap.study.plan import PlannedStage
from grsap.yaml_text import dump_yaml, read_yaml

if TYPE_CHECKING:
    from grsap.models.memory import MemoryEstimate


@dataclass(frozen=True)
class Cost:
    """Amount of work of a stage, as given in a study's YAML.

    Args:
        num_rows: rows that are trained on, written or answered.
        tokens_per_row: mean tokens per row; for a stage that generates, new tokens.
        shape: shape of the model: settings of a transformers config, including `model_type`.
        num_subjects: number of subjects that answer the rows.
    """

    num_rows: int
    tokens_per_row: int
    shape: dict[str, Any]
    num_subjects: int = 1


@dataclass(frozen=True)
class StageEstimate:
    """Estimated cost of one stage.

    Attributes:
        num_tokens: tokens that are trained on, or generated.
        hours: time on the machine.
        memory_gib: memory of one device in GiB; for a stage that generates, only the weights in 16 bits.
    """

    num_tokens: int
    hours: float
    memory_gib: float


class Estimator:
    """Estimates stages. Counts the parameters of each shape once.

    Args:
        machine: speed and number of devices.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._memory: dict[str, MemoryEstimate] = {}

    def of(self, stage: PlannedStage) -> StageEstimate | None:
        """Estimate a stage; None if it has no `cost`.

        Raises:
            ConfigError: `cost` has wrong keys or values, or transformers does not know the shape.
        """
        if not stage.cost:
            return None
        known = {field.name for field in fields(Cost)}
        required = known - {"num_subjects"}
        if not required <= set(stage.cost) <= known:
            raise ConfigError(
                f"stage {stage.name}: cost has {', '.join(stage.cost)}", f"Give {', '.join(sorted(known))}"
            )
        cost = Cost(**stage.cost)
        for name in ("num_rows", "tokens_per_row", "num_subjects"):
            if type(value := getattr(cost, name)) is not int or value < 1:
                raise ConfigError(f"stage {stage.name}: cost.{name} is {value!r}", "Give a whole number above 0")
        if not isinstance(cost.shape, Mapping):
            raise ConfigError(
                f"stage {stage.name}: cost.shape is {cost.shape!r}", "Give settings of a transformers config"
            )
        tokens = cost.num_rows * cost.tokens_per_row * cost.num_subjects
        settings = composed(stage) if stage.verb == "fit" else {}
        model = settings.get("model") or {}
        memory = self._memory_of(stage, cost, model, settings.get("data") or {})
        if stage.verb == "fit":
            passes = (6 if model.get("lora") is None else 4) + 2 * bool(model["base"].get("gradient_checkpointing"))
            seconds = passes * memory.num_parameters * tokens / (self.machine.train_tflops * 1e12)
            return StageEstimate(tokens, seconds / 3600 / self.machine.num_devices, memory.total / 2**30)
        seconds = tokens / self.machine.generate_tokens_per_s
        return StageEstimate(tokens, seconds / 3600 / self.machine.num_devices, 2 * memory.num_parameters / 2**30)

    def _memory_of(
        self, stage: PlannedStage, cost: Cost, model: Mapping[str, Any], data: Mapping[str, Any]
    ) -> MemoryEstimate:
        key = dump_yaml([cost.shape, dict(model), data.get("batching")])
        if key not in self._memory:
            try:
                self._memory[key] = _memory(cost, model, data)
            except Exception as error:  # configs and layers of transformers raise errors of any class
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ConfigError(
                    f"stage {stage.name}: cost cannot be estimated: {reason}", "Correct its cost"
                ) from error
        return self._memory[key]


def _memory(cost: Cost, model: Mapping[str, Any], data: Mapping[str, Any]) -> MemoryEstimate:
    """Estimate the memory of training, or of the model alone if nothing is trained."""
    from grsap.data.batching import Batching
    from grsap.models.memory import planned_memory

    optimizer = str((model.get("optimizer") or {}).get("class_path", ""))
    return planned_memory(
        cost.shape,
        model.get("base") or {},
        model.get("lora"),
        Batching(**(data.get("batching") or {})).max_tokens_per_micro_batch,
        2 if optimizer.endswith("8bit") else 8,
    )


def composed(stage: PlannedStage) -> dict[str, Any]:
    """Merge the settings of a stage's files and of the study, without the verb's defaults."""
    settings: dict[str, Any] = {}
    layers: Sequence[Any] = [read_yaml(resolve(each)) for each in stage.configs]
    for layer in [*layers, stage.settings]:
        settings = _merged(settings, layer or {})
    return settings


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(under)
    for key, value in over.items():
        old = found.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _is_other_class(old, value):
            value = _merged(old, value)
        found[key] = value
    return found


def _is_other_class(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether `new` is of another class, so that the settings of `old` are dropped, as in the verbs' parser."""
    return "class_path" in old and "class_path" in new and new["class_path"] != old["class_path"]
